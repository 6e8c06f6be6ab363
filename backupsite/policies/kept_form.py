"""How long restore points stay, as a part of a policy's form: a preset for a new one, a sentence for one that
exists, whose numbers have a page of their own (what goes is shown there before it is saved)."""

from __future__ import annotations

from typing import Any, Final

from django import forms

from backupsite.policies.effective import say_rules
from backupsite.policies.models import Policy
from backupsite.policies.retention import Rules

SHORT, USUAL, LONG = "short", "usual", "long"
_COUNTS = ("keep_last", "keep_hourly", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly")
PRESETS: Final[dict[str, tuple[str, tuple[int, ...]]]] = {
    SHORT: ("Two weeks", (4, 24, 14, 0, 0, 0)),
    USUAL: ("A year", (4, 24, 14, 8, 12, 0)),
    LONG: ("Ten years", (4, 24, 30, 12, 24, 10)),
}


def rules_of(preset: str) -> dict[str, int]:
    """Given a preset, return the model's fields."""
    return dict(zip(_COUNTS, PRESETS[preset][1], strict=True))


class PresetForm(forms.Form):
    """Which preset a new policy begins with."""

    kept = forms.ChoiceField(
        choices=[(value, words) for value, (words, _) in PRESETS.items()],
        initial=USUAL,
        required=False,
        label="Restore points stay for about",
        widget=forms.RadioSelect,
    )

    @property
    def kept_presets(self) -> list[tuple[str, str]]:
        """What each preset means, in words."""
        return [
            (words, say_rules(Rules.of(Policy(**rules_of(value))))) for value, (words, _) in PRESETS.items()
        ]

    @property
    def kept_fields(self) -> dict[str, Any]:
        """The model's fields of this part for a new policy. Only for a valid form."""
        return rules_of(self.cleaned_data.get("kept") or USUAL)


def say_kept(policy: Policy) -> str:
    """Given a policy, return which restore points stay, in one line."""
    return say_rules(Rules.of(policy))
