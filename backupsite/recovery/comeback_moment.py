"""To which moment an application comes back: as a restore point holds it, or on from there by its log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.utils import timezone

from agents.comeback import Way
from agents.errors import ProtocolBroken
from backupsite.recovery.models import RestorePoint
from backupsite.recovery.wal.reach import Reach, Route, find_reach, find_stream
from backupsite.recovery.wal.replays import NEWEST
from backupsite.web.choices import Choice
from backupsite.web.formatting import format_bytes

AS_STORED, MOMENT = "point", "moment"
SECOND = timedelta(seconds=1)
NOWHERE = "No moment can be reached now: make a backup first."
GONE = "Its log cannot be read now, so no moment can be reached. Is the disk of the repository there?"
# What a browser's own field for a date with a time speaks.
FIELD = "%Y-%m-%dT%H:%M:%S"


def reach_of(point: RestorePoint) -> Reach | None:
    """Given a restore point, return what the log that continues it reaches; None when nothing is reached."""
    stream = find_stream(point)
    if stream is None:
        return None
    try:
        reach = find_reach(stream)
    except ProtocolBroken:
        # Written by another version of this program: restore points come back all the same.
        return None
    return reach if reach.windows else None


def say_exactly(moment: datetime) -> str:
    """Given a moment, return it to the second, with its time zone: "2026-11-22 14:02:05 UTC"."""
    return f"{timezone.localtime(moment):%Y-%m-%d %H:%M:%S %Z}"


def read_moment(text: str) -> datetime:
    """Given what a browser's field says, or a person typed, return the moment. Raise ValueError with one
    sentence when it is none."""
    try:
        read = datetime.fromisoformat(text.strip())
        if not 1970 < read.year < 9000:
            raise ValueError(f"the year {read.year}")
        return read if read.tzinfo is not None else timezone.make_aware(read)
    except ValueError:
        raise ValueError(f"Write a date and a time, like {say_exactly(timezone.now())[:19]}.") from None


@dataclass(frozen=True)
class Chosen:
    """What was chosen: `route` None and `problem` "" is the restore point itself."""

    route: Route | None = None
    is_newest: bool = False
    problem: str = ""

    @property
    def word(self) -> str:
        """How the request of the run says it: "", "newest", or the moment in ISO 8601."""
        if self.route is None:
            return ""
        return NEWEST if self.is_newest else self.route.moment.isoformat()

    @property
    def sentence(self) -> str:
        """Which moment, in words."""
        if self.route is None:
            return ""
        exact = say_exactly(self.route.moment)
        return f"as far as its log goes, now {exact}" if self.is_newest else exact


def choose(reach: Reach, said: Mapping[str, Any]) -> Chosen:
    """Given what can be reached, and the fields `until` and `moment`, return what they choose. Pure."""
    if said.get("until") == NEWEST and reach.newest is not None:
        route = reach.find(reach.newest)
        return Chosen(route, is_newest=True, problem="" if route is not None else NOWHERE)
    if said.get("until") != MOMENT:
        return Chosen()
    try:
        moment = read_moment(str(said.get("moment") or ""))
    except ValueError as error:
        return Chosen(problem=str(error))
    route = reach.find(moment)
    return Chosen(route, problem="" if route is not None else _say_unreachable(reach, moment))


def _say_unreachable(reach: Reach, moment: datetime) -> str:
    nearest = find_nearest(reach, moment)
    if nearest is None:
        return NOWHERE
    return f"{say_exactly(moment)} cannot be reached. The nearest moment that can: {say_exactly(nearest)}."


def find_nearest(reach: Reach, moment: datetime) -> datetime | None:
    """Given a moment, return the nearest whole second that can be reached, None when there is none. Pure."""
    near = reach.nearest(moment)
    if near is None:
        return None
    whole = near.replace(microsecond=0)
    later = whole if whole == near else whole + SECOND
    return next((each for each in (whole, later) if reach.find(each) is not None), None)


class MomentFields(forms.Form):
    """The part of a form that asks for the moment; without `reach` it asks nothing."""

    until = forms.ChoiceField(required=False, label="To which moment", widget=forms.RadioSelect)
    moment = forms.CharField(
        required=False,
        max_length=40,
        label="Moment",
        error_messages={"required": "Write a date and a time."},
        widget=forms.DateTimeInput(attrs={"type": "datetime-local", "step": "1"}),
    )

    def __init__(self, *args: Any, reach: Reach | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.reach = reach
        self.route = Chosen()
        if reach is None or reach.newest is None or reach.oldest is None:
            del self.fields["until"], self.fields["moment"]
            return
        ways: Any = self.fields["until"]
        ways.choices = [
            (AS_STORED, Choice("As it was backed up", "Exactly what this restore point holds.")),
            (NEWEST, Choice("As far as its log goes", f"Now {say_exactly(reach.newest)}.")),
            (MOMENT, Choice("Any moment", "To the second: just before something went wrong.")),
        ]
        field = self.fields["moment"]
        field.required = not self.is_bound or self.data.get("until") == MOMENT
        field.widget.attrs |= {"min": _as_field(reach.oldest), "max": _as_field(reach.newest)}
        field.help_text = f"The server's own clock, in {timezone.get_current_timezone_name()}."

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        if "until" not in self.fields and self.data.get("until") in (NEWEST, MOMENT):
            # What was asked for on an older page must not become something else.
            self.add_error(None, GONE)
        if self.reach is None or "until" not in self.fields or "moment" in self.errors:
            return data
        self.route = choose(self.reach, data)
        if self.route.problem:
            self.add_error("until" if self.route.is_newest else "moment", self.route.problem)
        elif self.route.route is not None and data.get("way") == Way.DATABASE:
            self.add_error("until", "One database of a dump comes back as it was dumped.")
        return data


def first_fields(reach: Reach | None, asked: Mapping[str, Any]) -> dict[str, str]:
    """Given what can be reached and an address ("?until=moment&moment=..."), return what the fields show at
    first: the restore point itself, and the last whole second."""
    if reach is None or reach.newest is None:
        return {}
    until = asked.get("until", "")
    moment = str(asked.get("moment", ""))[:40] or _as_field(find_nearest(reach, reach.newest) or reach.newest)
    return {"until": until if until in (NEWEST, MOMENT) else AS_STORED, "moment": moment}


def _as_field(moment: datetime) -> str:
    return f"{timezone.localtime(moment):{FIELD}}"


def say_log(route: Route) -> str:
    """Given how a moment is reached, return how much log is replayed, in words."""
    return f"about {format_bytes(route.log_bytes)}" if route.log_bytes else "next to nothing"
