"""What becomes of each device of a file: new, there already, or refused with the reason. Pure.

The rules are those of the form of a device; what is there already is given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agents.ssh.keys import HostKey
from agents.ssh.names import check_address, check_port, check_user
from backupsite.fleet.devices import Jump, Reach
from backupsite.fleet.forms import find_address_problem, find_jump_problem
from backupsite.fleet.imports.known_hosts import KnownHosts
from backupsite.fleet.imports.rows import MOST_ROWS, Row
from backupsite.fleet.models import Device
from backupsite.fleet.names import clean_name

NEW, PRESENT, REFUSED = "new", "present", "refused"
LONGEST_TAG = 40
MOST_TAGS = 50


@dataclass(frozen=True)
class Candidate:
    """One device of a file and what becomes of it. `reach` is None when it is refused. `keys` are those that
    known_hosts has of it, `jump_keys` of its jump host."""

    line: int
    name: str
    fate: str
    reason: str = ""
    reach: Reach | None = None
    tags: tuple[str, ...] = ()
    keys: tuple[HostKey, ...] = ()
    jump_keys: tuple[HostKey, ...] = ()

    @property
    def is_known(self) -> bool:
        """Whether every machine on the way was seen before."""
        has_jump = self.reach is not None and self.reach.jump is not None
        return bool(self.keys) and (bool(self.jump_keys) or not has_jump)


@dataclass(frozen=True)
class Present:
    """A device that is there: how it is called, and where it is reached."""

    name: str
    address: str
    port: int
    jump: tuple[str, int] | None = None

    @property
    def place(self) -> tuple[str, int, tuple[str, int] | None]:
        return self.address.lower(), self.port, self.jump


class Checker:
    """Checks devices one after another: a later one may be another's twin."""

    def __init__(self, present: Sequence[Present], known: KnownHosts) -> None:
        self._by_name: dict[str, Present] = {each.name.lower(): each for each in present}
        self._by_place: dict[object, Present] = {each.place: each for each in present if each.address}
        self._lines: dict[str, int] = {}
        self._known = known

    def check(self, row: Row) -> Candidate:
        """Given a row, return what becomes of it."""
        try:
            if row.problem:
                raise ValueError(row.problem)
            name, reach, tags = clean_name(row.name), _read_reach(row), _read_tags(row.tags)
            return self._place(row.line, name, reach, tags)
        except ValueError as error:
            return Candidate(row.line, row.name, REFUSED, str(error))

    def _place(self, line: int, name: str, reach: Reach, tags: tuple[str, ...]) -> Candidate:
        jump = (reach.jump.address, reach.jump.port) if reach.jump is not None else None
        own = Present(name, reach.address, reach.port, jump)
        there = self._by_name.get(name.lower())
        twin = self._by_place.get(own.place)
        if there is not None and name.lower() in self._lines:
            raise ValueError(f"Line {self._lines[name.lower()]} has this name already.")
        if there is not None and there.place == own.place:
            return Candidate(line, name, PRESENT, "It is there already and stays as it is.", reach, tags)
        if there is not None:
            raise ValueError(f"Another device has this name; it is reached at {there.address}:{there.port}.")
        if twin is not None:
            raise ValueError(f"The device {twin.name} is reached at this address and port already.")
        self._by_name[name.lower()] = self._by_place[own.place] = own
        self._lines[name.lower()] = line
        keys = self._known.keys_of(reach.address, reach.port)
        jump_keys = self._known.keys_of(*jump) if jump is not None else []
        return Candidate(line, name, NEW, "", reach, tags, tuple(keys), tuple(jump_keys))


def check_rows(rows: Sequence[Row], present: Sequence[Present], known: KnownHosts) -> list[Candidate]:
    """Given the rows of a file, return what becomes of each. Raise ValueError when there are too many."""
    if len(rows) > MOST_ROWS:
        raise ValueError(f"More than {MOST_ROWS} devices. Import them in parts.")
    checker = Checker(present, known)
    return [checker.check(row) for row in rows]


def _read_reach(row: Row) -> Reach:
    address = check_address(row.address.strip().rstrip("."))
    port = _read_port(row.port)
    user = check_user(row.user.strip())
    jump = None
    if row.jump is not None:
        jump = Jump(
            check_address(row.jump.address.strip().rstrip(".").lower()),
            _read_port(row.jump.port),
            check_user(row.jump.user or user),
        )
        is_device = (address.lower(), port) == (jump.address, jump.port)
        if problem := find_jump_problem(jump.address, jump.port, is_device):
            raise ValueError(f"Jump host: {problem}")
    if problem := find_address_problem(address, port, is_direct=jump is None):
        raise ValueError(problem)
    return Reach(Device.SSH, address, port, user, jump)


def _read_port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 6):
        raise ValueError("The port must be a number from 1 to 65535. SSH is usually at 22.")
    return check_port(int(text))


def _read_tags(tags: Sequence[str]) -> tuple[str, ...]:
    if len(tags) > MOST_TAGS:
        raise ValueError(f"At most {MOST_TAGS} tags; these are {len(tags)}.")
    try:
        return tuple(dict.fromkeys(clean_name(tag, longest=LONGEST_TAG) for tag in tags))
    except ValueError as error:
        raise ValueError(f"A tag: {error}") from error


def count_fates(candidates: Sequence[Candidate]) -> Mapping[str, int]:
    """Return how many are new, there already, and refused."""
    return {fate: sum(each.fate == fate for each in candidates) for fate in (NEW, PRESENT, REFUSED)}
