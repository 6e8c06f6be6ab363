"""SQLite: a whole copy by VACUUM INTO, or a snapshot that holds the file and its journals."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection

from agents.applications.contract import Application
from agents.applications.recipes import SNAPSHOT, STREAM, Ground, Offer, Patience, Recipe, Stream
from agents.applications.sqlite_copy import OLDEST, copy_command
from agents.applications.sqlite_look import look_command
from agents.commands import Command
from agents.errors import PlanRefused, ProtocolBroken
from agents.events import Consistency
from agents.facts import Detail, DeviceFacts, Instance
from agents.facts.wire import parse_number, split_fields

# What belongs to a database beside its own file (https://www.sqlite.org/tempfiles.html).
_BESIDE = ("", "-wal", "-shm", "-journal")
_WAL = "2"
_INSTALL = "Install the program sqlite3, 3.27 or newer, on the device."


class Sqlite(Application):
    """An instance is a file, its name the path by which it was asked for."""

    name = "sqlite"
    label = "SQLite"

    def look(self, facts: DeviceFacts) -> Command | None:
        return look_command(())

    def look_for(self, facts: DeviceFacts, names: Collection[str]) -> Command | None:
        for name in names:
            if not name.startswith("/") or "\0" in name:
                raise PlanRefused(
                    f"{name!r} is no absolute path", remedy="Name the database by its whole path."
                )
        return look_command(names)

    def parse(self, output: bytes, facts: DeviceFacts) -> tuple[Instance, ...]:
        rows = split_fields(output, 7)
        programs = {row[1]: row[3] for row in rows if row[0] == "program"}
        found: dict[str, Instance] = {}
        for word, name, *more in rows:
            if word == "file":
                found[name] = _make_instance(name, more, programs)
            elif word not in ("program", "missing", "other"):
                raise ProtocolBroken("a word about a SQLite file is unknown", detail=repr(word[:80]))
        return tuple(found.values())

    def offers(self, instance: Instance, ground: Ground, facts: DeviceFacts) -> tuple[Offer, ...]:
        is_wal = instance.detail("journal") == "wal"
        offers = []
        if instance.detail("program"):
            # https://www.sqlite.org/lang_vacuum.html: VACUUM INTO makes a consistent copy of a live database
            freeze = "nothing waits" if is_wal else (
                "writers wait, or are told that the database is locked, for as long as it is read"
            )  # fmt: skip
            reason = "SQLite copies the file by VACUUM INTO, and the copy is checked before it is stored"
            cost = f"a full copy on the device's disk ({instance.detail('bytes')} bytes at most) at each run"
            offers.append(Offer(STREAM, Consistency.APPLICATION, reason, freeze, cost))
        if ground.is_atomic:
            # https://www.sqlite.org/atomiccommit.html: what a power cut leaves is rolled back, or forward
            reason = f"{ground.reason}, its journal too: SQLite recovers from it as after a power cut"
            missing = (
                "" if instance.detail("program") else f"A checked copy needs SQLite's program. {_INSTALL}"
            )
            offers.append(Offer(SNAPSHOT, Consistency.CRASH, reason, missing=missing))
        # Without a write-ahead log a reader holds writers up: then the snapshot is the better one.
        return tuple(offers if is_wal else reversed(offers))

    def recipe(self, instance: Instance, method: str, patience: Patience, scratch: str) -> Recipe:
        if method == STREAM:
            return Recipe(
                STREAM,
                Consistency.APPLICATION,
                streams=(_stream(instance, scratch),),
                scratch_bytes=int(instance.detail("bytes")) + (1 << 20),
            )
        if method == SNAPSHOT:
            # The directory, since files beside the database come and go; everything else in it is left out.
            directory, name = posixpath.split(_real_path(instance))
            if not name.isprintable():
                raise PlanRefused(
                    f"the name of {instance.label} has letters that no list of patterns may hold"
                )
            names = [f"{name}{end}" for end in _BESIDE]
            return Recipe(
                SNAPSHOT, Consistency.CRASH, paths=(directory,), excludes=exclude_others(directory, names)
            )
        raise PlanRefused(f"a SQLite file is not backed up by {method!r}")

    def cold(self, instance: Instance, facts: DeviceFacts) -> Recipe:
        raise PlanRefused(
            f"{instance.label} is a file: nobody knows which service must stand still for it",
            remedy="Back it up hot, or name its folder and its service as a source of files.",
        )


def _make_instance(name: str, fields: list[str], programs: dict[str, str]) -> Instance:
    real, uid, gid, size, journal = fields
    if not real.startswith("/") or posixpath.normpath(real) != real or real.count("/") < 2:
        raise ProtocolBroken("a SQLite file is at no real path in a directory", detail=repr(real[:300]))
    program = _program(programs)
    size_bytes = parse_number(size, "the size of a SQLite file")
    details = (
        Detail("file", real),
        Detail("uid", str(parse_number(uid, "a user's number"))),
        Detail("gid", str(parse_number(gid, "a group's number"))),
        Detail("bytes", str(size_bytes)),
        Detail("journal", "wal" if journal == _WAL else "rollback"),
        Detail("program", program),
    )
    problems = () if program else (f"SQLite cannot copy it: no program there knows VACUUM INTO. {_INSTALL}",)
    return Instance(
        "sqlite", name, f"SQLite {name}", "", (posixpath.dirname(real),), "", True, details, problems
    )


def _program(programs: dict[str, str]) -> str:
    """Return which program can copy: sqlite3, else Python's module; both need setpriv."""
    for name in ("sqlite3", "python3"):
        words = programs.get(name, "").split()
        numbers = words[0].split(".") if words else []
        is_known = len(numbers) >= 3 and all(re.fullmatch(r"[0-9]{1,4}", each) for each in numbers[:3])
        if is_known and tuple(map(int, numbers[:3])) >= OLDEST and "setpriv" in programs:
            return name
    return ""


def _real_path(instance: Instance) -> str:
    return instance.detail("file")


def _stream(instance: Instance, scratch: str) -> Stream:
    name = posixpath.basename(_real_path(instance))
    is_plain = name.isprintable() and not name.startswith((".", "-"))
    command = copy_command(
        _real_path(instance),
        instance.detail("uid"),
        instance.detail("gid"),
        scratch,
        has_sqlite=instance.detail("program") == "sqlite3",
    )
    return Stream(name if is_plain else "database.sqlite", command)


def exclude_others(directory: str, names: Collection[str]) -> tuple[str, ...]:
    """Given a directory and names, return patterns of restic that match everything in it but these.

    restic knows no "all but": for each beginning of a name, itself and what goes on otherwise."""
    base = "".join(_literal(letter) for letter in directory).rstrip("/") + "/"
    patterns = []
    for start in sorted({name[:length] for name in names for length in range(len(name) + 1)}):
        next_letters = sorted(
            {name[len(start)] for name in names if name.startswith(start) and name != start}
        )
        escaped = "".join(f"\\{letter}" if letter in "\\]^-[" else letter for letter in next_letters)
        begun = base + "".join(_literal(letter) for letter in start)
        if start and start not in names:
            patterns.append(begun)
        patterns.append(f"{begun}[^{escaped}]*" if escaped else f"{begun}?*")
    return tuple(patterns)


def _literal(letter: str) -> str:
    """A blank at an end, or a # at the beginning, would mean something else in a list of patterns."""
    if letter in "*?[]\\":
        return f"\\{letter}"
    return f"[{letter}]" if letter.isspace() else letter
