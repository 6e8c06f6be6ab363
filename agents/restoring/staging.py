"""Staging of one leg: found, owed, made, filled, put into place, gone. The shell of it is in `*.sh`."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from agents.commands import Command, Result, escape_line, to_bytes, to_text
from agents.errors import (
    AgentError,
    CommandFailed,
    DeviceBusy,
    PlanRefused,
    ProtocolBroken,
    RestoreTargetRefused,
)
from agents.removing import read_removing
from agents.restoring.legs import Leg
from agents.restoring.requests import Conflict
from agents.runner import Runner

_PARTS = ("walking.sh", "looking.sh", "swapping.sh", "merging.sh", "choosing.sh")
_SUFFIX = ".restore"
# Renaming is quick, but a merge may look at every file of a large tree; and so may a removal.
_LONG_S = 24 * 3600.0
_REASONS = {
    "link": "{} is a symbolic link: a restore does not follow it.",
    "file": "{} is not a folder.",
    "moved": "{} was changed by somebody while it was restored, or another file system is mounted there.",
    "read-only": "{} cannot be written: its file system is read-only.",
    "apart": "Nothing can be renamed into {}: its quota or its file system keeps it apart.",
    "lacking": "The restore point holds nothing named {}.",
}
_ELSEWHERE = "Restore into a folder whose parents belong to root, for example /var/restore."


@cache
def read_program() -> bytes:
    """Return the program of a restore on a device."""
    here = Path(__file__).parent
    first, *others = ((here / part).read_bytes() for part in _PARTS)
    return b"".join((first, to_bytes(read_removing()), *others))


@dataclass(frozen=True, slots=True)
class Ground:
    """Where a leg goes. `base` is where its staging may be ("": nowhere), `identity` its mount and device;
    `existing` how far the destination exists. `is_safe`: none of its parents can be changed by others. `top`
    is the highest folder on that ground: a mount point, or the root of a subvolume of btrfs."""

    base: str
    identity: str
    existing: str
    free_bytes: int
    is_safe: bool
    top: str


@dataclass(frozen=True, slots=True)
class Merged:
    """What a swap or a merge did; see RestoreOutcome."""

    replaced: int = 0
    kept: int = 0
    renamed: int = 0
    skipped: int = 0
    failed: int = 0
    said: str = ""


class Tools:
    """The program, where it lies on the device, and who runs it."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.path = runner.write_file("restore.sh", read_program())

    def look(self, folder: str) -> Ground:
        """Given a folder that may be missing, return its ground. Raise RestoreTargetRefused when something in
        its path is no folder, or it is read-only."""
        word, *fields = self._fields(self.run("look", folder))
        if word != "ground" or len(fields) != 6 or not fields[3].isdigit() or fields[4] not in ("yes", "no"):
            raise ProtocolBroken("the device did not say where a restore can go", detail=repr(fields)[:500])
        base, identity, existing, free, safe, top = fields
        return Ground(base, identity, existing, int(free) * 1024, safe == "yes", top)

    def claim(self, path: str) -> None:
        """Raise DeviceBusy when another run, of whatever console, restores to an overlapping place."""
        self.runner.write_file("target", escape_line(path) + b"\n")
        self.run("claim", path, self.runner.directory)

    def run(self, *words: str, items: Sequence[str] = (), timeout_s: float = 600.0) -> Result:
        """Run a mode of the program. Raise RestoreTargetRefused, PlanRefused or DeviceBusy when it refuses,
        CommandFailed when it fails."""
        stdin = b"".join(escape_line(item) + b"\n" for item in items)
        command = Command.of("sh", self.path, *words, stdin=stdin or None)
        result = self.runner.run(command, timeout_s=timeout_s, check=False)
        if result.status == 3:
            raise _refusal(self._fields(result))
        if not result.is_success:
            raise CommandFailed(f"{words[0]} failed with status {result.status}", detail=result.tail)
        return result

    @staticmethod
    def _fields(result: Result) -> list[str]:
        return to_text(result.stdout).split("\0")[:-1]


def _refusal(fields: list[str]) -> AgentError:
    if len(fields) != 3 or fields[0] != "refused":
        return ProtocolBroken("the device refused a restore without a reason", detail=repr(fields)[:500])
    _, word, path = fields
    if word == "claimed":
        return DeviceBusy(f"Another run restores to {path} at this moment.", remedy="Wait for it to end.")
    if word not in _REASONS:
        return ProtocolBroken("the device refused a restore for an unknown reason", detail=repr(fields)[:500])
    if word == "lacking":
        return PlanRefused(_REASONS[word].format(path), remedy="Pick the files again.")
    return RestoreTargetRefused(_REASONS[word].format(path), remedy=_ELSEWHERE)


def undo_command(path: str) -> Command:
    """Given the path of a staging, return the idempotent command that puts back what was not swapped to the
    end, and removes it."""
    return Command.of("/bin/sh", "-c", to_text(read_program()), "hotfleet", "back", path)


def check_ground(ground: Ground, destination: str) -> None:
    """Raise RestoreTargetRefused when staging cannot be anywhere on the file system of the destination."""
    if not ground.base:
        raise RestoreTargetRefused(
            f"On the file system of {destination} every folder above it may be changed by others than root: "
            "they could send the files elsewhere while they are written.",
            remedy="Give its topmost folder to root, or restore into a folder on another file system, for "
            "example /var/restore.",
        )


# The highest folder of a file system holds staging: mount points are looked at, but none that may hang.
_FIND = r"""
while read -r _ _ _ _ point _ rest; do
  rest=${rest#*- }
  case ${rest%% *} in ext[234] | xfs | btrfs | zfs | f2fs | jfs | tmpfs | vfat) ;; *) continue ;; esac
  case $point in *\\*) continue ;; /) point= ;; esac
  for found in "$point"/.hotfleet-*-*.restore; do
    [ -d "$found" ] && [ ! -L "$found" ] && [ -O "$found" ] || continue
    name=${found##*/.}
    printf '%s\0%s\0' "${name%.restore}" "$found"
  done
done </proc/self/mountinfo
"""
FIND = Command.of("/bin/sh", "-c", _FIND, "hotfleet")


class Staging:
    """One staging on the device."""

    def __init__(self, tools: Tools, leg: Leg, ground: Ground, path: str) -> None:
        """Use `open_staging`."""
        self.leg = leg
        self.path = path
        self._tools = tools
        self._ground = ground

    @property
    def target(self) -> str:
        """Where restic writes."""
        if self.leg.called == "":
            return f"{self.path}/new/{self.leg.items[0]}"
        return f"{self.path}/new"

    def clear(self) -> None:
        """Remove what is in the places of the leg. Nothing brings it back."""
        words = ("clear", self.path, self._ground.identity, self.leg.destination)
        self._tools.run(*words, items=self.leg.items, timeout_s=_LONG_S)

    def finish(self, *, is_whole_system: bool) -> int:
        """Look whether everything came, take away what may not, and make it durable. Return how many files
        lost their privileges. Raise PlanRefused when something that was picked is missing."""
        run, leg = self._tools.run, self.leg
        if leg.names:
            run("lack", self.path, items=leg.names)
        if leg.called and leg.called != leg.items[0]:
            new = f"{self.path}/new"
            self._tools.runner.run(Command.of("mv", "--", f"{new}/{leg.called}", f"{new}/{leg.items[0]}"))
        stripped = 0 if is_whole_system else len(run("strip", self.path, timeout_s=_LONG_S).stdout)
        run("settle_down", self.path, timeout_s=_LONG_S)
        return stripped

    def put_into_place(self, conflict: Conflict, stamp: str) -> Merged:
        """Swap the items of the leg, or merge when it has none. Raise RestoreTargetRefused when somebody
        moves things meanwhile: then a swap is undone."""
        leg, words = self.leg, (self.path, self._ground.identity)
        if leg.items:
            done = self._tools.run("exact", *words, leg.destination, items=leg.items, timeout_s=_LONG_S)
            return Merged(replaced=len(done.stdout))
        merged = self._tools.run(
            "merge", *words, conflict.value, stamp, self._tools.path, leg.destination, timeout_s=_LONG_S
        )
        word, *counts = to_text(merged.stdout).split("\0")[:-1]
        if word != "merged" or len(counts) != 5 or not all(count.strip().isdigit() for count in counts):
            raise ProtocolBroken("the device did not say what it merged", detail=merged.text[:500])
        replaced, kept, renamed, skipped, failed = (int(count) for count in counts)
        return Merged(replaced, kept, renamed, skipped, failed, said=merged.tail if merged.stderr else "")

    def remove(self) -> None:
        """Remove it; what was not swapped to the end is put back first."""
        try:
            self._tools.run("back", self.path, timeout_s=_LONG_S)
        except CommandFailed as error:
            error.message = f"{self.path} could not be removed; the device goes on trying"
            raise


@contextmanager
def open_staging(tools: Tools, leg: Leg, number: int) -> Iterator[Staging]:
    """Make the staging of a leg, its undo owed first. With the context it is gone, however that ends."""
    ground = tools.look(leg.destination)
    check_ground(ground, leg.destination)
    runner, key = tools.runner, f"staging-{number}"
    path = posixpath.join(ground.base, f".{runner.name}{_SUFFIX}")
    runner.owe(key, undo_command(path))
    staging = Staging(tools, leg, ground, path)
    try:
        tools.run("make", path, ground.identity, ground.existing)
        if leg.items:
            words = (path, ground.identity, leg.destination)
            tools.run("reach", *words, items=leg.items, timeout_s=_LONG_S)
        yield staging
    except BaseException:
        with suppress(AgentError):  # a lost device does it by itself: it is owed
            staging.remove()
        raise
    staging.remove()
    runner.settle(key)
