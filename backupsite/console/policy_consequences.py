"""What saving a policy would mean beyond its runs: what changes for how many devices, how much room the first
backups need, and what gets in each other's way. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from backupsite.console.policy_preview import Pace
from backupsite.policies.blocked import Blocked

# Longer lists say how many more there are.
MOST_SHOWN = 8
OFTEN_COLD = timedelta(hours=23)


@dataclass(frozen=True)
class Sizes:
    """What is known of how much there is: of `known` of `asked` sources on devices, `bytes` in all. Those
    that were never backed up have to be sent whole: `first_known` of `first_asked`, `first_bytes`."""

    asked: int = 0
    known: int = 0
    total_bytes: int = 0


@dataclass(frozen=True)
class Room:
    """What the first backups need in one storage, at most: restic packs it. `free_bytes` None: not known."""

    storage: str
    needed_bytes: int
    free_bytes: int | None

    @property
    def is_too_small(self) -> bool:
        return self.free_bytes is not None and self.needed_bytes > self.free_bytes


@dataclass(frozen=True)
class Consequences:
    """`changes` are those of an existing policy, in words. `at_rows`: the conflicts by the source's row."""

    changes: Sequence[str] = ()
    is_new: bool = True
    sizes: Sizes = field(default_factory=Sizes)
    first: Sizes = field(default_factory=Sizes)
    rooms: Sequence[Room] = ()
    conflicts: Sequence[str] = ()
    hidden_conflicts: int = 0
    at_rows: Mapping[int, Sequence[str]] = field(default_factory=dict)

    def notes_of(self, row: int) -> Sequence[str]:
        """Return what gets in the way of the source of a row."""
        return self.at_rows.get(row, ())


def shorten(sentences: Iterable[str]) -> tuple[tuple[str, ...], int]:
    """Given sentences, return the first of them, each once, and how many are not among them."""
    listed = list(dict.fromkeys(sentences))
    return tuple(listed[:MOST_SHOWN]), max(0, len(listed) - MOST_SHOWN)


def find_window_conflicts(
    window: Pace | None, blocked: Blocked, stops: Sequence[str], duration: timedelta
) -> list[str]:
    """Given the cold window as it is typed, the blocked hours, what stops in it and how long a run takes,
    return what does not fit."""
    if window is None or not window.times:
        return []
    said = []
    if stops and window.gap is not None and window.gap < OFTEN_COLD:
        said.append(f"{window.times_a_day} times a day the cold window stops: {'; '.join(stops[:3])}.")
    if (tight := _find_tight(window.times[0].at, blocked, duration)) is not None:
        minutes = tight // timedelta(minutes=1)
        said.append(
            f"{minutes} min after the cold window begins, hours are blocked; runs take "
            f"{duration // timedelta(minutes=1)} min. Begin it earlier, or choose what happens then."
        )
    return said


def _find_tight(start: datetime, blocked: Blocked, duration: timedelta) -> timedelta | None:
    """Return how long after its start a run meets blocked hours; None when it ends before."""
    step = timedelta(minutes=1)
    after = step
    # A run of days meets every blocked hour: that is told where such runs are.
    while after < min(duration, timedelta(days=1)):
        if blocked.is_blocked(start + after):
            return after
        after += step
    return None
