"""One value of a policy for one device, as a form. `stored` is what `effective.Value.read` reads."""

from __future__ import annotations

from typing import Any, ClassVar, cast

from django import forms
from django.utils import timezone

from backupsite.policies.document_values import NONE, Plain
from backupsite.policies.effective import KEPT, TARGET, VALUES, WHEN, apply
from backupsite.policies.models import Policy
from backupsite.policies.planning import Planner
from backupsite.policies.retention_form import RulesForm, initial_retention

WAYS = (
    ("every", "Every"),
    ("daily", "Daily at"),
    ("weekly", "Weekly on"),
    ("cron", "Cron"),
    ("by hand", "By hand"),
)


class OneForm(forms.Form):
    """A single value in the words of a policy's file. `policy` is the device's policy, stored."""

    name: ClassVar[str]

    def __init__(self, *args: Any, policy: Policy, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.policy = policy

    def clean_value(self) -> Plain:
        return self._read(str(self.cleaned_data["value"]).strip())

    def _read(self, typed: Plain) -> Plain:
        value = VALUES[self.name]
        try:
            return value.write(apply(Policy(), {self.name: typed}))
        except (ValueError, OverflowError) as error:
            raise forms.ValidationError(str(error)) from error

    @property
    def stored(self) -> Plain:
        return cast(Plain, self.cleaned_data["value"])

    @classmethod
    def begin(cls, policy: Policy) -> dict[str, Any]:
        """Given the policy as it holds on the device, return what the form shows at first."""
        return {"value": VALUES[cls.name].write(policy)}


class TargetForm(OneForm):
    name = TARGET
    value = forms.CharField(
        max_length=40,
        label="Target (RPO)",
        help_text="The newest restore point must never be older than this, for example 2 h or 26 h.",
    )


class RestoreWithinForm(OneForm):
    name = "rto"
    value = forms.CharField(
        max_length=40, label="Restore within (RTO)", help_text=f"For example 4 h; “{NONE}” is no target."
    )


class RateForm(OneForm):
    name = "upload_mb_s"
    value = forms.CharField(
        max_length=40,
        label="Send at most",
        help_text=f"For example 20 MB/s; “{NONE}” is as much as the line takes.",
    )


class ImpactForm(OneForm):
    name = "impact"
    value = forms.ChoiceField(
        choices=Policy.IMPACTS, label="How hard a backup may push", widget=forms.RadioSelect
    )


class TurnForm(OneForm):
    name = "priority"
    value = forms.ChoiceField(
        choices=[(words.lower(), words) for _, words in Policy.PRIORITIES],
        label="When several wait, it comes",
        widget=forms.RadioSelect,
    )


class WhenForm(OneForm):
    """How often, in the time zone and outside of the blocked hours of the policy."""

    name = WHEN
    way = forms.ChoiceField(choices=WAYS, label="How often", widget=forms.RadioSelect)
    value = forms.CharField(
        max_length=120,
        required=False,
        label="Interval or time",
        help_text="Every: 4 h. Daily: 02:30. Weekly: Sunday 03:00. Cron: five fields, like 30 2 * * 1-5. "
        "By hand: nothing.",
    )

    def clean_value(self) -> Plain:
        way = self.cleaned_data.get("way")
        if way is None:
            return ""
        typed = str(self.cleaned_data["value"]).strip()
        stored = self._read({way: True if way == "by hand" else typed})
        try:
            Planner.of(apply(self.policy, {WHEN: stored})).check(timezone.now())
        except ValueError as error:
            raise forms.ValidationError(str(error)) from error
        return stored

    @classmethod
    def begin(cls, policy: Policy) -> dict[str, Any]:
        ((way, said),) = cast(dict[str, Plain], VALUES[WHEN].write(policy)).items()
        return {"way": way, "value": "" if said is True else said}


class KeptForm(RulesForm):
    """Which restore points stay. How long removed ones rest is the policy's alone."""

    name: ClassVar[str] = KEPT

    def __init__(self, *args: Any, policy: Policy, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.policy = policy

    @property
    def stored(self) -> Plain:
        return VALUES[KEPT].write(Policy(**self.cleaned_data))

    @classmethod
    def begin(cls, policy: Policy) -> dict[str, Any]:
        return initial_retention(policy)


FORMS: dict[str, type[OneForm] | type[KeptForm]] = {
    form.name: form
    for form in (TargetForm, WhenForm, KeptForm, RestoreWithinForm, ImpactForm, RateForm, TurnForm)
}
