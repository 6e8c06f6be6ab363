"""The run that looks at what a restore would do, and what it said."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.utils import timezone

from agents.errors import PlanRefused
from agents.events import Phase, Tell
from agents.restore import Conflict, Entry, Forecast, forecast
from backupsite.fleet.models import Device
from backupsite.fleet.sessions import open_session
from backupsite.recovery.folders import decode_path, encode_path
from backupsite.recovery.index.adding import add
from backupsite.recovery.index.reading import under
from backupsite.recovery.models import RestoreForecast
from backupsite.recovery.wishes import Wish, read_wish
from backupsite.runs.kinds import Control, Ended, QueueName
from backupsite.runs.models import Run
from backupsite.runs.requests import request_run
from backupsite.runs.states import State
from backupsite.runs.texts import make_storable
from backupsite.web.formatting import format_duration

# What a device looked like longer ago is not what will happen.
FRESH_FOR = timedelta(minutes=10)
LONGEST_TEXT = 1000
# What is smaller says nothing about speed.
SMALLEST_MEASURE = 20_000_000


class Foresight(NamedTuple):
    """The newest look at what a wish would do: its run, and what it said once it is over."""

    run: Run
    said: dict[str, Any]

    @property
    def is_working(self) -> bool:
        return not State(self.run.state).is_final

    @property
    def newest_at(self) -> datetime | None:
        text = self.said.get("newest_at")
        return datetime.fromisoformat(text) if text else None

    @property
    def seconds_words(self) -> str:
        return format_duration(timedelta(seconds=max(1.0, self.said["seconds"])))

    @property
    def newest_path(self) -> str:
        """Every byte of it: show it through `safe_text`."""
        return decode_path(self.said["newest_path"]) if self.said.get("newest_path") else ""


def ask_forecast(wish: Wish, *, requested_by: str) -> Run:
    """Ask what a restore would do. Asking again while it is looked at is the same run."""
    return request_run(
        Run.FORECAST, wish.device, request=_key(wish), requested_by=requested_by, beside=wish.beside
    )


def find_forecast(wish: Wish) -> Foresight | None:
    """Given a wish, return the newest look at it; None when there is none, or none of now. Runs one query."""
    asked = Run.objects.filter(kind=Run.FORECAST, device=wish.device, request=_key(wish))
    run = asked.select_related("forecast").order_by("-number").first()
    if run is None or (run.ended_at is not None and run.ended_at < timezone.now() - FRESH_FOR):
        return None
    found = getattr(run, "forecast", None)
    return Foresight(run, found.said if found is not None else {})


def _key(wish: Wish) -> dict[str, Any]:
    """What is seen on the device does not depend on what is done about it."""
    return replace(wish, conflict=Conflict.KEEP_BOTH, is_whole_system=False).to_json()


class Foresee:
    """Looks at what a restore would do, without changing anything on the device."""

    name = Run.FORECAST
    queue: QueueName = "interactive"
    may_retry = False

    def work(self, run: Run, tell: Tell, control: Control) -> Ended:
        wish = read_wish(run)
        seen = forecast(
            wish.to_request(run, wish.find_origin()),
            _list_entries(wish),
            lambda: open_session(run.device),
            tell=tell,
            control=control,
            bytes_per_s=measure_pace(run.device),
        )
        control.in_transaction(lambda: _keep(run, seen))
        return Ended(State.SUCCEEDED)


def _list_entries(wish: Wish) -> Iterator[Entry]:
    """Raise PlanRefused when the index of the restore point cannot be made."""
    if under(wish.point, wish.paths) is None:
        add(wish.point)
    found = under(wish.point, wish.paths)
    if found is None:
        raise PlanRefused("What the restore point holds cannot be read now.", remedy="Try again in a minute.")
    return (Entry(each.path, each.kind, each.size_bytes, each.modified_at) for each in found)


def _keep(run: Run, seen: Forecast) -> None:
    said = {
        "files": seen.files,
        "bytes": seen.bytes,
        "existing": seen.existing,
        "newer": seen.newer,
        "newest_at": seen.newest_at.isoformat() if seen.newest_at is not None else "",
        "newest_path": encode_path(seen.newest_path[-LONGEST_TEXT:]) if seen.newest_path else "",
        "free_bytes": seen.free_bytes,
        "refusal": make_storable(seen.refusal, LONGEST_TEXT),
        "remedy": make_storable(seen.remedy, LONGEST_TEXT),
        "seconds": seen.seconds,
    }
    RestoreForecast.objects.update_or_create(run=run, defaults={"said": said})


def measure_pace(device: Device) -> float | None:
    """Return how many bytes a second the newest good restore of a device moved; None before there was one.
    Runs two queries."""
    good = Run.objects.filter(device=device, kind=Run.RESTORE, state__in=(State.SUCCEEDED, State.WARNINGS))
    run = good.filter(bytes_done__gte=SMALLEST_MEASURE).order_by("-number").first()
    if run is None:
        return None
    phase = run.phases.filter(name=str(Phase.TRANSFER)).exclude(ended_at=None).last()
    seconds = (phase.ended_at - phase.started_at).total_seconds() if phase and phase.ended_at else 0.0
    return run.bytes_done / seconds if seconds > 0 else None
