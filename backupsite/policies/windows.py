"""Which sources a run takes: hot by the policy's schedule, cold in its cold window. Pure.

A *window* is the reason why a run starts. When every source is cold and the policy has no cold window, its
own schedule is the window.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Literal, Protocol

Window = Literal["hot", "cold"]
HOT: Window = "hot"
COLD: Window = "cold"

# How long after its time a cold run may still begin: a console that was off on Sunday night must not stop
# services on Monday morning. What was missed waits for the next window.
WINDOW_LASTS = timedelta(hours=2)

# Values of Source.mode and of Source.if_hot_impossible.
MODE_HOT, MODE_COLD, MODE_BOTH, MODE_OUT = "hot", "cold", "both", "out"
FAIL, LIVE, WAIT = "fail", "accept-live", "wait"


class Chosen(Protocol):
    """What is chosen for a source."""

    @property
    def mode(self) -> str: ...
    @property
    def if_hot_impossible(self) -> str: ...


def is_taken_hot(source: Chosen) -> bool:
    return source.mode in (MODE_HOT, MODE_BOTH)


def may_wait(source: Chosen) -> bool:
    """Return whether it is copied in the cold window when hot is impossible."""
    return source.mode == MODE_HOT and source.if_hot_impossible == WAIT


def needs_window(source: Chosen) -> bool:
    return source.mode in (MODE_COLD, MODE_BOTH) or may_wait(source)


def own_window(sources: Iterable[Chosen], *, has_window: bool) -> Window | None:
    """Given the sources of a policy, and whether it has a cold window of its own, return what its schedule
    starts: hot runs, cold ones when every source is cold and no other window is there, None for nothing."""
    taken = [source for source in sources if source.mode != MODE_OUT]
    if any(is_taken_hot(source) for source in taken):
        return HOT
    return COLD if taken and not has_window else None


def lacks_window(sources: Iterable[Chosen]) -> bool:
    """Given the sources of a policy without a cold window, return whether some need one: its schedule is hot
    then."""
    listed = list(sources)
    return own_window(listed, has_window=False) == HOT and any(needs_window(source) for source in listed)


def first_window(sources: Iterable[Chosen]) -> Window:
    """Given the sources of a policy, return what a backup by hand takes when nobody says: hot if anything
    is."""
    return COLD if own_window(sources, has_window=False) == COLD else HOT
