"""Hours in which no run starts, and what else moves runs, as a part of a policy's form.

The rows of blocked hours are forms of their own; the buttons that add and remove one need no script.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any

from django import forms

from backupsite.policies.blocked import EVERY_DAY, Blocked
from backupsite.policies.durations import show_duration
from backupsite.policies.models import Policy
from backupsite.policies.planning import Planner
from backupsite.policies.schedule import LONGEST_SPREAD, WEEKDAYS, Schedule
from backupsite.policies.window_form import WRITE_TIME, read_target, read_time

PREFIX = "blocked"
MOST_ROWS = 14
# The buttons that save nothing.
ADD, REMOVE = "add_blocked", "remove_blocked"
COUNT = f"{PREFIX}-TOTAL_FORMS"
NEW_ROW: dict[str, Any] = {"weekdays": list(EVERY_DAY), "begins": "08:00", "ends": "18:00"}


@dataclass(frozen=True)
class TypedHours:
    """One row as the model's fields say it."""

    weekdays: str
    begins: time
    ends: time


class HoursForm(forms.Form):
    """One row: from when to when on which days."""

    begins = forms.CharField(max_length=20, label="From", error_messages={"required": WRITE_TIME})
    ends = forms.CharField(max_length=20, label="To", error_messages={"required": WRITE_TIME})
    weekdays = forms.MultipleChoiceField(
        choices=[(str(number), day[:3]) for number, day in enumerate(WEEKDAYS)],
        label="On",
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose a day at least, or remove these hours."},
    )

    def clean_begins(self) -> time:
        return read_time(str(self.cleaned_data["begins"]))

    def clean_ends(self) -> time:
        return read_time(str(self.cleaned_data["ends"]))

    @property
    def hours(self) -> TypedHours:
        """Only for a valid row."""
        data = self.cleaned_data
        return TypedHours("".join(sorted(data["weekdays"])), data["begins"], data["ends"])


class BlockedForm(forms.Form):
    """What moves the runs of a schedule: blocked hours, spread, priority; and the target of a restore.

    A post without any of it leaves the policy as it is."""

    when_blocked = forms.ChoiceField(
        choices=Policy.WHEN_BLOCKED,
        initial=Policy.FINISH,
        required=False,
        label="A run that still works when such hours begin",
        widget=forms.RadioSelect,
        help_text="Paused, it stands still but for a moment each minute, and its snapshot stays: what "
        "applications change meanwhile takes space on the device. Stopped, it goes on afterwards and sends "
        "only the rest. Nothing is paused or stopped while an application is held still, stopped, or dumped.",
    )
    spread_minutes = forms.IntegerField(
        required=False,
        min_value=0,
        max_value=LONGEST_SPREAD,
        label="Spread the devices over",
        help_text="Each device starts at its own moment within it. Empty: what fits the schedule.",
        error_messages=dict.fromkeys(
            ("invalid", "min_value", "max_value"),
            f"Write a whole number of minutes, at most {LONGEST_SPREAD}, like 30, or nothing.",
        ),
    )
    priority = forms.TypedChoiceField(
        coerce=int,
        choices=Policy.PRIORITIES,
        initial=Policy.USUAL,
        required=False,
        label="When many wait for a worker",
    )
    rto = forms.CharField(
        max_length=40,
        required=False,
        label="Restore within (RTO)",
        help_text="How long a restore may take, for example 4 h. Empty: no target.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.hours_forms = list(self._make_rows())

    def _make_rows(self) -> Iterator[HoursForm]:
        if self.is_bound:
            for number in range(_read_count(self.data)):
                yield HoursForm(self.data, prefix=f"{PREFIX}-{number}")
            return
        for number, row in enumerate(self.initial.get("blocked", [])):
            yield HoursForm(initial=row, prefix=f"{PREFIX}-{number}")

    @property
    def is_blocked_posted(self) -> bool:
        """Whether the page that was posted has the section of blocked hours."""
        return self.is_bound and COUNT in self.data

    def clean_rto(self) -> timedelta | None:
        typed = str(self.cleaned_data["rto"]).strip()
        return read_target(typed) if typed else None

    def check_blocked(self) -> None:
        """Add the errors of the rows, and one when they leave no time free. After the other fields."""
        wrong = [number for number, row in enumerate(self.hours_forms, 1) if not row.is_valid()]
        if wrong:
            self.add_error(None, f"Look at the blocked hours, row {', '.join(map(str, wrong))}.")
        elif self.hours_forms and "time_zone" in self.cleaned_data:
            try:
                self.blocked.check()
            except ValueError as error:
                self.hours_forms[0].add_error("begins", str(error))
                self.add_error(None, f"Blocked hours: {error}")

    @property
    def blocked(self) -> Blocked:
        """What was typed. Rows that are not right yet are left out."""
        rows = [row.hours for row in self.hours_forms if row.is_valid()]
        return Blocked.make(rows, str(self.cleaned_data["time_zone"]))

    def check_starts(self, field: str, schedule: Schedule, now: datetime) -> bool:
        """Given the schedule of cold runs and its field, return whether any ever starts. Say it there."""
        try:
            Planner(schedule, self.blocked, is_cold=True).check(now)
        except ValueError as error:
            self.add_error(field, str(error))
            return False
        return True

    @property
    def blocked_rows(self) -> list[TypedHours] | None:
        """The rows to store; None when the page that was posted has none of this. Only for a valid form."""
        return [row.hours for row in self.hours_forms] if self.is_blocked_posted else None

    @property
    def blocked_fields(self) -> dict[str, Any]:
        """The model's fields of this part. Only for a valid form."""
        if not self.is_blocked_posted:
            return {}
        data = self.cleaned_data
        return {
            "when_blocked": data["when_blocked"] or Policy.FINISH,
            "spread_minutes": data["spread_minutes"],
            "priority": Policy.USUAL if data["priority"] == "" else data["priority"],
            "rto": data["rto"],
        }


def initial_blocked(policy: Policy) -> dict[str, Any]:
    """Given a stored policy, return what its form shows at first about this part. Runs one query."""
    return {
        "when_blocked": policy.when_blocked,
        "spread_minutes": policy.spread_minutes,
        "priority": policy.priority,
        "rto": show_duration(policy.rto) if policy.rto is not None else "",
        "blocked": [
            {"weekdays": list(row.weekdays), "begins": f"{row.begins:%H:%M}", "ends": f"{row.ends:%H:%M}"}
            for row in policy.blocked_hours.all()
        ],
    }


def typed_blocked(data: Any) -> list[dict[str, Any]]:
    """Given what was posted (a QueryDict), return the rows as they were typed, one more or one less when a
    button asks for that."""
    rows = [
        {
            "weekdays": data.getlist(f"{PREFIX}-{number}-weekdays"),
            "begins": data.get(f"{PREFIX}-{number}-begins", ""),
            "ends": data.get(f"{PREFIX}-{number}-ends", ""),
        }
        for number in range(_read_count(data))
        if str(number) != data.get(REMOVE)
    ]
    return [*rows, NEW_ROW] if ADD in data and len(rows) < MOST_ROWS else rows


def as_posted(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Given rows as a form shows them at first, return them as a browser posts them."""
    posted = {
        f"{PREFIX}-{number}-{name}": value for number, row in enumerate(rows) for name, value in row.items()
    }
    return {COUNT: str(len(rows)), **posted}


def _read_count(data: Mapping[str, Any]) -> int:
    text = str(data.get(COUNT, ""))
    return min(int(text), MOST_ROWS) if text.isascii() and text.isdigit() and len(text) < 6 else 0
