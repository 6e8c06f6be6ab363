"""How long restore points stay, as a form."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms

from backupsite.policies.durations import parse_duration, show_duration
from backupsite.policies.models import Policy
from backupsite.policies.retention import MOST_OF_A_PERIOD, SHORTEST_REST, Rules

COUNTS = ("keep_last", "keep_hourly", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly")
LONGEST_REST = timedelta(days=366)


def _count(label: str, help_text: str = "") -> forms.IntegerField:
    return forms.IntegerField(
        min_value=0,
        max_value=MOST_OF_A_PERIOD,
        label=label,
        help_text=help_text,
        error_messages={
            "required": "Write a number; 0 is none.",
            "invalid": "Write a whole number; 0 is none.",
            "min_value": "Write a whole number; 0 is none.",
            "max_value": f"Write at most {MOST_OF_A_PERIOD:,}.",
        },
    )


def _read(typed: str) -> timedelta:
    """Given a time as typed, return it; "0" is none. Raise ValidationError with an example otherwise."""
    if typed.strip() == "0":
        return timedelta(0)
    try:
        return parse_duration(typed)
    except (ValueError, OverflowError) as error:
        raise forms.ValidationError(str(error)) from error


class RulesForm(forms.Form):
    """Which restore points stay, of a policy or of one device."""

    keep_last = _count("The last", "The newest ones, whenever they were made.")
    keep_hourly = _count("Hourly", "The newest of each of so many hours.")
    keep_daily = _count("Daily")
    keep_weekly = _count("Weekly")
    keep_monthly = _count("Monthly")
    keep_yearly = _count("Yearly")
    keep_min = forms.CharField(
        max_length=40,
        label="Nothing goes that is younger than",
        help_text="For example 2 days, or 0. Whoever takes a device over cannot shorten it.",
    )
    keep_max = forms.CharField(
        max_length=40,
        required=False,
        label="Nothing stays that is older than",
        help_text="For example 365 days. Empty: as long as the numbers above say. The newest good restore "
        "point of each source always stays, and so does what is protected or held.",
    )

    def clean_keep_min(self) -> timedelta:
        return _read(str(self.cleaned_data["keep_min"]))

    def clean_keep_max(self) -> timedelta | None:
        typed = str(self.cleaned_data["keep_max"])
        return _read(typed) if typed.strip() else None

    def clean(self) -> dict[str, Any]:
        data = self.cleaned_data
        if {*COUNTS, "keep_min", "keep_max"} <= data.keys():
            try:
                self.rules.check()
            except ValueError as error:
                is_age = any(data[name] for name in COUNTS)
                self.add_error("keep_max" if is_age else "keep_last", str(error))
        return data

    @property
    def rules(self) -> Rules:
        """What was typed. Only when none of its fields was refused."""
        return Rules.of(
            Policy(**{name: self.cleaned_data[name] for name in (*COUNTS, "keep_min", "keep_max")})
        )


class RetentionForm(RulesForm):
    """The rules of a policy, and how long what goes can be had back."""

    rest = forms.CharField(
        max_length=40,
        label="Removed ones can be had back for",
        help_text="For example 7 days, at least 1. Their data takes room until then.",
    )

    def clean_rest(self) -> timedelta:
        rest = _read(str(self.cleaned_data["rest"]))
        if not SHORTEST_REST <= rest <= LONGEST_REST:
            raise forms.ValidationError("Write something between 1 d and 366 days.")
        return rest


def initial_retention(policy: Policy) -> dict[str, Any]:
    """Given a policy, return what the form shows at first."""
    return {
        **{name: getattr(policy, name) for name in COUNTS},
        "keep_min": show_duration(policy.keep_min),
        "keep_max": show_duration(policy.keep_max) if policy.keep_max is not None else "",
        "rest": show_duration(policy.rest),
    }
