"""The cold window of a policy, as a part of its form."""

from __future__ import annotations

import re
from datetime import time, timedelta
from typing import Any

from django import forms

from backupsite.policies.durations import parse_duration, show_duration
from backupsite.policies.models import Policy
from backupsite.policies.schedule import WEEKDAYS, Schedule

WRITE_TIME = "Write the time like 02:00 or 23:30."
SHORTEST_RPO = timedelta(minutes=5)
LONGEST_RPO = timedelta(days=366)
_TIME = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])", re.ASCII)


def read_time(text: str) -> time:
    """Given a time of day as typed, return it. Raise ValidationError with an example otherwise."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise forms.ValidationError(WRITE_TIME)
    return time(int(match[1]), int(match[2]))


def read_target(text: str) -> timedelta:
    """Given a target as typed, return it. Raise ValidationError otherwise."""
    try:
        target = parse_duration(text)
    except ValueError as error:
        raise forms.ValidationError(str(error)) from error
    if not SHORTEST_RPO <= target <= LONGEST_RPO:
        raise forms.ValidationError("The target lies between 5 min and 366 days.")
    return target


class WindowForm(forms.Form):
    """When cold copies are made. Without its tick nothing of it is looked at."""

    cold_is_enabled = forms.BooleanField(required=False, label="A window for cold copies")
    cold_when = forms.ChoiceField(
        choices=Policy.COLD_SCHEDULES, initial=Policy.WEEKLY, label="How often", widget=forms.RadioSelect
    )
    cold_weekday = forms.TypedChoiceField(
        coerce=int, choices=list(enumerate(WEEKDAYS)), initial=6, label="On"
    )
    cold_at_time = forms.CharField(
        max_length=20, initial="03:00", label="At", error_messages={"required": WRITE_TIME}
    )
    cold_cron = forms.CharField(
        max_length=120,
        error_messages={"required": "Write five fields, like 0 3 * * 0."},
        label="Cron expression",
        help_text="Five fields: minute, hour, day, month, weekday. For example 0 3 * * 0.",
    )
    cold_rpo = forms.CharField(
        max_length=40,
        initial="8 days",
        label="Target of cold copies",
        help_text="The newest cold copy must never be older than this, for example 8 days.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.is_bound:
            is_on, when = bool(self.data.get("cold_is_enabled")), self.data.get("cold_when")
            for name in ("cold_when", "cold_weekday", "cold_rpo"):
                self.fields[name].required = is_on
            self.fields["cold_at_time"].required = is_on and when in {Policy.DAILY, Policy.WEEKLY}
            self.fields["cold_cron"].required = is_on and when == Policy.CRON

    def _clean_fields(self) -> None:
        super()._clean_fields()  # type: ignore[misc]  # django-stubs leaves it out
        if not self.cleaned_data.get("cold_is_enabled"):
            # Nothing that is switched off can be wrong.
            for name in WINDOW_FIELDS:
                self.errors.pop(name, None)

    def clean_cold_at_time(self) -> time | None:
        is_wanted = self.data.get("cold_when") in {Policy.DAILY, Policy.WEEKLY}
        return read_time(str(self.cleaned_data["cold_at_time"])) if is_wanted else None

    def clean_cold_rpo(self) -> timedelta:
        return read_target(str(self.cleaned_data["cold_rpo"]))

    def check_window(self) -> None:
        """Add an error when the window never comes. Only after its fields were read."""
        data = self.cleaned_data
        if not data.get("cold_is_enabled") or not {*WINDOW_FIELDS, "time_zone"} <= data.keys():
            return
        try:
            self.window(data["time_zone"]).check()
        except ValueError as error:
            self.add_error("cold_cron" if data["cold_when"] == Policy.CRON else "cold_when", str(error))

    def window(self, time_zone: str) -> Schedule:
        """What was typed about the window. Only when none of its fields was refused."""
        data = self.cleaned_data
        kind = data["cold_when"]
        return Schedule(
            kind=kind,
            at_time=data["cold_at_time"],
            weekday=data["cold_weekday"] if kind == Policy.WEEKLY else None,
            cron=data["cold_cron"] if kind == Policy.CRON else "",
            time_zone=time_zone,
            spread_minutes=data.get("spread_minutes"),
        )

    @property
    def window_fields(self) -> dict[str, Any]:
        """The model's fields of the window. Only for a valid form. Without its tick it keeps what it had."""
        if not self.cleaned_data["cold_is_enabled"]:
            return {"cold_is_enabled": False}
        window = self.window("UTC")
        return {
            "cold_is_enabled": True,
            "cold_schedule": window.kind,
            "cold_at_time": window.at_time,
            "cold_weekday": window.weekday,
            "cold_cron": window.cron,
            "cold_rpo": self.cleaned_data["cold_rpo"],
        }


WINDOW_FIELDS = ("cold_when", "cold_weekday", "cold_at_time", "cold_cron", "cold_rpo")


def initial_window(policy: Policy) -> dict[str, Any]:
    """Given a policy, return what its form shows at first about its window."""
    return {
        "cold_is_enabled": policy.cold_is_enabled,
        "cold_when": policy.cold_schedule,
        "cold_weekday": policy.cold_weekday if policy.cold_weekday is not None else 6,
        "cold_at_time": f"{policy.cold_at_time:%H:%M}" if policy.cold_at_time is not None else "03:00",
        "cold_cron": policy.cold_cron,
        "cold_rpo": show_duration(policy.cold_rpo),
    }
