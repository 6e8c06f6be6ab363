"""Sources that get in each other's way: nested in one another, emptied by what they leave out, in two
policies at once, or holding the repositories. Pure.

What can only be a mistake is refused; what may be meant (a policy for the whole fleet beside one for some
devices) is said before it is saved.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache

from agents.facts.mounts import is_within
from backupsite.policies.windows import MODE_OUT

# Names that no file has: a pattern that takes these takes everything.
_PROBES = ("\ue000", "\ue001.\ue002")


@dataclass(frozen=True)
class Source:
    """A source as far as it matters here."""

    key: str
    path: str = ""
    excludes: str = ""
    mode: str = "hot"

    @property
    def is_out(self) -> bool:
        return self.mode == MODE_OUT


@dataclass(frozen=True)
class Rival:
    """A source of another policy, on `device_count` of the devices; `device` is one of them."""

    policy: str
    source: Source
    device: str
    device_count: int

    @property
    def where(self) -> str:
        more = self.device_count - 1
        return self.device + (f" and {more:,} more" if more > 0 else "")


def leaves_out(path: str, excludes: str) -> str:
    """Given a path and patterns, one a line, return the pattern that leaves the path out as restic matches
    it, "" when none does. With a pattern that takes something back ("!") nobody knows: "" too."""
    patterns = [line.strip() for line in excludes.splitlines() if line.strip()]
    if any(pattern.startswith("!") for pattern in patterns):
        return ""
    return next((pattern for pattern in patterns if _matches(pattern, path)), "")


def leaves_out_all(path: str, excludes: str) -> str:
    """Given a source, return the pattern that leaves nothing of it, "" when something may be left."""
    if found := leaves_out(path, excludes):
        return found
    inside = [leaves_out(f"{path.rstrip('/')}/{probe}", excludes) for probe in _PROBES]
    return inside[0] if all(inside) else ""


def _matches(pattern: str, path: str) -> bool:
    """Return whether a pattern matches a path or a folder above it: from the root with a slash before it,
    anywhere without."""
    parts = [part for part in path.split("/") if part]
    wanted = tuple(part for part in pattern.split("/") if part)
    starts = [0] if pattern.startswith("/") else range(len(parts))
    return any(
        _fits(wanted, tuple(parts[start:end])) for start in starts for end in range(start + 1, len(parts) + 1)
    )


@lru_cache(maxsize=4096)
def _fits(wanted: tuple[str, ...], parts: tuple[str, ...]) -> bool:
    if not wanted or not parts:
        return (not wanted and not parts) or set(wanted) == {"**"}
    if wanted[0] == "**":
        return _fits(wanted[1:], parts) or _fits(wanted, parts[1:])
    return fnmatchcase(parts[0], wanted[0]) and _fits(wanted[1:], parts[1:])


def find_nested(sources: Sequence[Source]) -> dict[int, str]:
    """Given the sources of one policy, return what to know of those inside of another one, by their place."""
    said: dict[int, str] = {}
    for place, inner in enumerate(sources):
        for outer in sources:
            if _is_inside(inner, outer):
                said[place] = _say_nested(inner, outer)
    return said


def _is_inside(inner: Source, outer: Source) -> bool:
    if not inner.path or not outer.path or inner.path == outer.path or outer.is_out:
        return False
    return is_within(inner.path, outer.path) and not leaves_out(inner.path, outer.excludes)


def _say_nested(inner: Source, outer: Source) -> str:
    if inner.is_out:
        return (
            f"It lies in {outer.path}, which is copied with all that is in it. To leave it out, write "
            f"{inner.path} under “Leave out” there."
        )
    return (
        f"It lies in {outer.path}, which takes it too unless it is a file system of its own: it would be "
        f"kept twice. Write {inner.path} under “Leave out” there to keep it once."
    )


def find_rivals(sources: Iterable[Source], rivals: Iterable[Rival]) -> list[str]:
    """Given the sources of a policy, and those that other policies have on its devices, return a sentence for
    each two that are about the same data."""
    listed = list(rivals)
    return [said for own in sources for rival in listed if (said := _say_rival(own, rival))]


def _say_rival(own: Source, rival: Rival) -> str:
    other = rival.source
    if own.key == other.key:
        return _say_same(own, rival)
    if own.is_out or other.is_out:
        return ""
    if _is_inside(own, other):
        return f"{own.path} lies in {other.path}, which “{rival.policy}” takes on {rival.where}: kept twice."
    if _is_inside(other, own):
        return f"{other.path}, which “{rival.policy}” takes on {rival.where}, lies in {own.path}: kept twice."
    return ""


def _say_same(own: Source, rival: Rival) -> str:
    if own.is_out and rival.source.is_out:
        return ""
    if own.is_out:
        return f"{own.key} is left out here, but “{rival.policy}” takes it on {rival.where}: it is taken."
    if rival.source.is_out:
        return f"“{rival.policy}” leaves out {own.key} on {rival.where}; this policy takes it all the same."
    return (
        f"{own.key} of {rival.where} is in “{rival.policy}” too: both copy it, one after the other, and both "
        "targets count."
    )


def find_repository_problem(source: Source, places: Iterable[str], own_place: str) -> str:
    """Given a source on the console's own machine, the directories where repositories are kept, and the one
    of this machine's own, return why the source cannot be taken, "" when it can.

    Its own place is left out by each run."""
    if not source.path or source.is_out:
        return ""
    for place in places:
        if is_within(source.path, place):
            return f"Repositories are kept in {place}: a backup of them would hold itself."
        is_left_out = place == own_place or leaves_out(place, source.excludes)
        if is_within(place, source.path) and not is_left_out:
            return (
                f"Repositories are kept in {place}, inside of this path: each backup would hold those before "
                f"it. Write {place} under “Leave out”."
            )
    return ""
