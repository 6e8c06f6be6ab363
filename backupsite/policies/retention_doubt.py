"""Copies that look wrong: emptied, or with everything in them written anew. Pure.

A device that somebody took over makes copies that are whole and hold nothing, or hold what was encrypted.
Such a copy does not take the place of a trusted one, and holds all removals until a person has looked.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

from backupsite.web.formatting import format_bytes, format_count

# A copy is compared with so many trusted ones before it: their median, and the largest of a long time, so
# that shrinking slowly is seen too.
RECENT = 20
LONG = timedelta(days=90)
COLLAPSE, SLOW_COLLAPSE = 0.5, 0.25
# Everything is new though little was: at least this much, after so many copies.
NEW_SHARE, USUAL_SHARE, LEAST_KNOWN = 0.5, 0.2, 3
LEAST_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Measured:
    """One copy in numbers. `stored_bytes` is what was new in the repository."""

    key: Hashable
    made_at: datetime
    size_bytes: int
    file_count: int
    stored_bytes: int


# Each copy is looked at soon after it was made, among those that there were then: later only some are left.
LOOKED_WITHIN = timedelta(days=3)


@dataclass(frozen=True, slots=True)
class Looked:
    """What a person looked at: all up to `accepted_at`. `since`: what is older was found to be right when it
    was made, or is held."""

    accepted_at: datetime | None = None
    since: datetime | None = None

    def is_trusted(self, copy: Measured) -> bool:
        return any(at is not None and copy.made_at <= at for at in (self.accepted_at, self.since))


def find_doubts(copies: Iterable[Measured], looked: Looked) -> dict[Hashable, str]:
    """Given the good copies of one source, return those that look wrong, each with one sentence. As small as
    something was that a person looked at is small enough."""
    trusted: list[Measured] = []
    doubts: dict[Hashable, str] = {}
    for copy in sorted(copies, key=lambda each: each.made_at):
        said = "" if looked.is_trusted(copy) else _doubt(copy, trusted, looked.accepted_at)
        if said:
            doubts[copy.key] = said
        else:
            trusted.append(copy)
    return doubts


def _doubt(copy: Measured, trusted: Sequence[Measured], accepted_at: datetime | None) -> str:
    if not trusted:
        return ""
    was_small = [each for each in trusted if accepted_at is not None and each.made_at <= accepted_at]
    for measure, show in ((_size_of, format_bytes), (_count_of, _show_files)):
        least = min((measure(each) for each in was_small), default=None)
        before = _usual(copy, trusted, measure)
        if before and (least is None or measure(copy) < least):
            return f"It holds {show(measure(copy))}; before there were {show(before)}."
    return _find_rewritten(copy, trusted)


def _usual(copy: Measured, trusted: Sequence[Measured], measure: Callable[[Measured], int]) -> int:
    """Return how much there was before, when the copy holds much less; else 0."""
    usual = int(median(measure(each) for each in trusted[-RECENT:]))
    if measure(copy) < usual * COLLAPSE:
        return usual
    largest = max((measure(each) for each in trusted if each.made_at > copy.made_at - LONG), default=0)
    return largest if measure(copy) < largest * SLOW_COLLAPSE else 0


def _find_rewritten(copy: Measured, trusted: Sequence[Measured]) -> str:
    """Return a sentence when most of a copy is new although little was new before."""
    if copy.size_bytes < LEAST_BYTES or len(trusted) <= LEAST_KNOWN:
        return ""
    # The first one of all is all new.
    usual = median(_share(each) for each in trusted[1:][-RECENT:])
    share = _share(copy)
    if share < NEW_SHARE or usual > USUAL_SHARE:
        return ""
    return f"{share:.0%} of it is new, as if everything had been written anew; usual is {usual:.0%}."


def _share(copy: Measured) -> float:
    return min(copy.stored_bytes / copy.size_bytes, 1.0) if copy.size_bytes else 0.0


def _size_of(copy: Measured) -> int:
    return copy.size_bytes


def _count_of(copy: Measured) -> int:
    return copy.file_count


def _show_files(count: int) -> str:
    return f"{format_count(count)} file{'' if count == 1 else 's'}"
