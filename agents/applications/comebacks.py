"""How applications come back from what was stored of them: the contract, found by scanning this package.

In place: everything slow happens in a *staging* (a directory of root's beside the data), while the old data
stays where it is and its service runs. Then, in one script: the service is stopped, old and new are swapped
by renames, the service is started. Until the application answered, the old goes back when anything fails.
"""

from __future__ import annotations

import posixpath
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import ClassVar

from agents.applications.keepers import Keeper, keep_services
from agents.applications.recipes import DUMP
from agents.applications.stored import Stored, StoredPart
from agents.commands import Command
from agents.errors import PlanRefused
from agents.facts import DeviceFacts, Instance
from agents.plugins import find_plugins

BY_HAND = "Restore its files into a folder, and put them into place by hand."


class Way(StrEnum):
    IN_PLACE = "in-place"
    BESIDE = "beside"
    DATABASE = "database"


@dataclass(frozen=True, slots=True)
class Choice:
    """A way in which something comes back. `is_possible` False: `reason` says why not, `remedy` what helps.

    `databases` are the names among which DATABASE chooses, and with `has_tables` one table of them may come
    alone. `needs_service`: it is possible as soon as somebody names the service."""

    way: Way
    is_possible: bool
    reason: str
    remedy: str = ""
    databases: tuple[str, ...] = ()
    has_tables: bool = False
    needs_service: bool = False


@dataclass(frozen=True, slots=True)
class Home:
    """Where an instance belongs, as far as anybody knows: from the device as it is now, else as it was last
    seen, else from the restore point.

    `places` are real paths, the data's first; `instance` is the newest that is known of it, None: nothing but
    its files. `owner` is the user whose the data is when no old data tells."""

    application: str
    name: str
    label: str
    places: tuple[str, ...]
    owner: str
    instance: Instance | None
    is_running: bool
    services: tuple[str, ...] = ()

    @property
    def data(self) -> str:
        return self.places[0]

    def detail(self, name: str) -> str:
        return self.instance.detail(name) if self.instance is not None else ""


@dataclass(frozen=True, slots=True)
class Seat:
    """What is replaced: the file or directory `path`, and entries beside it that leave together with it.

    `folder_owner` ("uid:gid"): whose the folder is to be when it is missing; "" that of the one above it."""

    path: str
    leaves_too: tuple[str, ...] = ()
    folder_owner: str = ""


@dataclass(frozen=True, slots=True)
class Fetch:
    """What is restored into the staging of seat number `seat`: the file or directory `path` of a restore
    point, under its own name in `new` (`is_raw` False) or, to be worked on, in `raw`. `more` are names beside
    it that come along when they exist."""

    seat: int
    part: StoredPart
    path: str
    is_raw: bool = False
    more: tuple[str, ...] = ()


# Shell for preparations, in a mount namespace of their own.
# find_owner <name> <user, or uid:gid>: sets $owner to whose the data is, or was to be.
# give_folder <name> <user>: makes `work/` for him, whose files no path leads anybody else to.
# as_owner_of <directory> <words>: in place of this shell, runs a program as whoever owns a directory of the
# staging, which he sees as /mnt, since no path leads him there.
AS_OWNER = r"""
find_owner() {
  owner=$(stat -c %u:%g "../$1" 2>/dev/null) || owner=''
  case $owner in 0:*) [ -n "$(ls -A "../$1" 2>/dev/null)" ] || owner='' ;; esac
  case $owner:$2 in
    :*:*) owner=$2 ;;
    :*) owner=$(id -u "$2"):$(id -g "$2") || return 1 ;;
  esac
}
give_folder() {
  find_owner "$1" "$2" && mkdir -m 0700 work && chown "$owner" work
}
as_owner_of() {
  cd -- "$1" && mount --no-canonicalize -o bind . /mnt || return 1
  [ "$(stat -c %d:%i .)" = "$(stat -c %d:%i /mnt)" ] || return 1
  shift
  cd /mnt || return 1
  set -- setpriv --reuid="$(stat -c %u .)" --regid="$(stat -c %g .)" --clear-groups -- "$@"
  exec "$@"
}
"""


@dataclass(frozen=True, slots=True)
class Preparation:
    """A shell source that works in the staging of a seat, as root, before anything stands still.

    It finds `new/` and `raw/` in its working directory, $1... are `words`; it prints `note <text>` for the
    log and fails with a sentence on stderr. Whoever owns the data cannot reach the staging: what runs as the
    owner works in its working directory only."""

    seat: int
    label: str
    source: str
    words: tuple[str, ...] = ()
    timeout_s: int = 6 * 3600


@dataclass(frozen=True, slots=True)
class Course:
    """How an instance comes back, decided before anything is touched. `factor`: how many times the stored
    bytes are needed as free space meanwhile.

    `is_fresh`: the seats are places of its own, so nothing stays of what did not work; `stop_line` ends and
    removes what runs there."""

    home: Home
    keeper: Keeper
    seats: tuple[Seat, ...]
    fetches: tuple[Fetch, ...]
    preparations: tuple[Preparation, ...]
    factor: int = 1
    notes: tuple[str, ...] = ()
    is_fresh: bool = False
    stop_line: str = ""


@dataclass(frozen=True, slots=True)
class Log:
    """What is replayed on top of a restore point: an application's log, each part a folder of files, in their
    order. `until` None: as far as it goes. `whole` is a position that is reached when nothing is missing."""

    parts: tuple[StoredPart, ...]
    segment_bytes: int
    until: datetime | None
    whole: int


@dataclass(frozen=True, slots=True)
class Extraction:
    """How one database of a dump comes into a server that runs, under a new name.

    `load` reads the dump on stdin and fills what `create` made, which is this run's by its name or by a note
    until `finish`. `drop` removes what is this run's, and nothing else; it is idempotent. `count` prints how
    much there is, `remedy` says what helps when the server refuses it."""

    label: str
    part: StoredPart
    create: Command
    load: Command
    finish: Command
    drop: Command
    count: Command
    remedy: str


@dataclass(frozen=True, slots=True)
class Check:
    """One question to an application that runs on what came back. It must end with status 0."""

    label: str
    command: Command


class Comeback(ABC):
    """One application. A file of this package holds one; `name` is that of the application."""

    name: ClassVar[str]
    # Whose the data is when nothing tells; and the service of data in the usual place.
    owner: ClassVar[str]
    usual: ClassVar[Mapping[str, str]] = {}

    def places(self, stored: Stored, known: tuple[str, ...]) -> tuple[str, ...]:
        """Given the places that are known, return them with the data's first."""
        return known

    @abstractmethod
    def choices(self, stored: Stored, home: Home) -> tuple[Choice, ...]:
        """Return every way, possible or not, in which what was stored comes back."""

    @abstractmethod
    def course(self, stored: Stored, home: Home, keeper: Keeper) -> Course:
        """Return how it comes back in place. Raise PlanRefused when that is not possible."""

    def beside(self, stored: Stored, home: Home, folder: str, port: int) -> Course:
        """Return how it comes to run in a new folder on a port of its own, or raise PlanRefused."""
        raise PlanRefused(f"{home.label} does not come back beside what runs")

    def replayed(self, course: Course, log: Log) -> Course:
        """Given a course and the log since its restore point, return the one that comes back to a moment.
        Raise PlanRefused when it cannot."""
        raise PlanRefused(f"{course.home.label} comes back to its restore points only")

    def extraction(
        self, stored: Stored, home: Home, part: str, new_name: str, table: str, run_name: str
    ) -> Extraction:
        """Return how one database (or one table of it) of a dump comes into the server that runs. Raise
        PlanRefused when it cannot."""
        raise PlanRefused(f"{home.label} does not come back database by database")

    def keeper(self, home: Home) -> Keeper | None:
        """Return who stops and starts an instance that no service is known for, None when nobody does."""
        service = next((self.usual[place] for place in home.places if place in self.usual), None)
        return keep_services((service,)) if service is not None else None

    def answers(self, instance: Instance) -> bool:
        """Given what a look found, return whether the server answered it."""
        return instance.is_running

    def checks(self, instance: Instance) -> tuple[Check, ...]:
        """Given an instance that answers, return what it is asked before the old data goes."""
        return ()

    def log(self, home: Home, since: str) -> Command | None:
        """Given a file that was made before the start, return what prints the last lines of its own log from
        then on, None when nobody knows where that is."""
        return None


def course_of_files(
    stored: Stored, home: Home, keeper: Keeper, preparations: tuple[Preparation, ...]
) -> Course:
    """Given a restore point of files as they lay on the device, return the course that puts each place of
    them back. Raise PlanRefused when the instance has moved since."""
    part = stored.part("")
    # A place inside of another one comes back with it.
    outer = (path for path in part.paths if not any(path.startswith(f"{each}/") for each in part.paths))
    seats = tuple(Seat(path) for path in sorted(outer, key=lambda path: path != home.data))
    if seats[0].path != home.data:
        raise PlanRefused(
            f"the restore point holds {', '.join(part.paths)}, and the data belongs into {home.data} now",
            remedy=BY_HAND,
        )
    fetches = tuple(Fetch(number, part, seat.path) for number, seat in enumerate(seats))
    return Course(home, keeper, seats, fetches, preparations)


def find_reader(stored: Stored, home: Home) -> Instance:
    """Return the instance that reads a dump. Raise PlanRefused when it does not run, or this is no dump."""
    if stored.way != DUMP or home.instance is None or not home.is_running:
        raise PlanRefused(
            f"{home.label} must run to read a dump, and {stored.method} must be one",
            remedy="Start the server, or pick a restore point of dumps.",
        )
    return home.instance


def refuse_method(stored: Stored) -> PlanRefused:
    return PlanRefused(
        f"nobody knows how {stored.key} comes back in place from {stored.method!r}",
        remedy="Restore its files into a folder, and follow the notes of its run.",
    )


def name_of(path: str) -> str:
    return posixpath.basename(path)


@cache
def comebacks() -> dict[str, Comeback]:
    """Return how every application comes back, by the application's name."""
    import agents.applications as package

    return find_plugins(package, Comeback.__subclasses__)


def comeback_of(stored: Stored) -> Comeback:
    """Raise PlanRefused when nobody knows how this application comes back."""
    found = comebacks().get(stored.application)
    if found is None:
        raise PlanRefused(
            f"nobody knows how {stored.application or 'files'} come back by themselves",
            remedy="Restore its files into a folder, and follow the notes of its run.",
        )
    return found


def find_home(stored: Stored, facts: DeviceFacts, known: Instance | None, services: tuple[str, ...]) -> Home:
    """Given what was stored, facts of now, how it was last seen and the services that somebody named, return
    where it belongs. Raise PlanRefused when no place is known."""
    comeback = comeback_of(stored)
    now = _find_instance(stored, facts)
    best = _best(now, known)
    places = comeback.places(stored, (best.places if best is not None else ()) or stored.paths)
    if not places:
        raise PlanRefused(
            f"nobody knows where {stored.key} belongs on this device",
            remedy=BY_HAND,
        )
    unit = (best.service if best is not None else "") or (known.service if known is not None else "")
    return Home(
        stored.application,
        stored.instance,
        best.label if best is not None else stored.key,
        places,
        comeback.owner,
        best,
        now is not None and now.is_running,
        services or ((unit,) if unit else ()),
    )


def _find_instance(stored: Stored, facts: DeviceFacts) -> Instance | None:
    """Its name may have changed with what is left of it: its data tells too."""
    found = facts.instance(stored.application, stored.instance)
    data = stored.paths[:1]
    same = (each for each in facts.instances if each.application == stored.application)
    return found or next((each for each in same if data and each.places[:1] == data), None)


def _best(now: Instance | None, known: Instance | None) -> Instance | None:
    """What runs tells everything; what does not was described better when it ran."""
    if now is not None and (now.is_running or known is None):
        return now
    return known
