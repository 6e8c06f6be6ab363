"""All facts of a device, and how they are read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from agents.commands import Command, Result
from agents.errors import ProtocolBroken
from agents.facts import btrfs, databases, fills, lvm, mounts, paths, reflink, system, tools, wire
from agents.facts.btrfs import BtrfsFacts
from agents.facts.databases import DatabaseSeen
from agents.facts.fills import Fill
from agents.facts.instances import Instance
from agents.facts.lvm import LvmFacts
from agents.facts.mounts import ExpectedMount, Mount
from agents.facts.paths import PathFact
from agents.facts.system import SystemFacts
from agents.facts.tools import Tool

# How often the two lists of subvolumes are read until they fit.
_TRIES = 3


class RunsCommands(Protocol):
    """What facts need of a runner (or of anything else that runs a command as root on the device)."""

    def run(self, command: Command, *, timeout_s: float = 60.0, check: bool = True) -> Result: ...


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """Everything that a plan is made from, as it was at one moment."""

    system: SystemFacts
    tools: tuple[Tool, ...]
    mounts: tuple[Mount, ...]
    expected_mounts: tuple[ExpectedMount, ...]
    btrfs: tuple[BtrfsFacts, ...]
    databases: tuple[DatabaseSeen, ...]
    paths: tuple[PathFact, ...] = ()
    instances: tuple[Instance, ...] = ()
    lvm: LvmFacts | None = None
    reflinks: tuple[str, ...] = ()
    fills: tuple[Fill, ...] = ()

    def tool(self, name: str) -> Tool | None:
        return next((tool for tool in self.tools if tool.name == name), None)

    def path(self, path: str) -> PathFact | None:
        return next((fact for fact in self.paths if fact.path == path), None)

    def instance(self, application: str, name: str) -> Instance | None:
        wanted = (application, name)
        return next((each for each in self.instances if (each.application, each.name) == wanted), None)

    def btrfs_of(self, mount: Mount) -> BtrfsFacts | None:
        return next((fact for fact in self.btrfs if fact.device == mount.device), None)


def read_facts(runner: RunsCommands, source_paths: Iterable[str] = ()) -> DeviceFacts:
    """Return the facts of a device, with one about each of `source_paths`.

    Runs seven commands, three for each btrfs, one for LVM and one for XFS. Raise ProtocolBroken when an
    output is not understood."""
    seen = mounts.parse_mounts(_ask(runner, mounts.MOUNTS, "the list of mounts"))
    found = tools.parse_tools(_ask(runner, tools.TOOLS, "the list of tools"))
    fstab = _ask(runner, mounts.EXPECTED_MOUNTS, "/etc/fstab")
    return DeviceFacts(
        system=system.parse_system(_ask(runner, system.SYSTEM, "the system")),
        tools=found,
        mounts=seen,
        expected_mounts=mounts.parse_expected_mounts(fstab),
        btrfs=_read_btrfs(runner, seen) if any(tool.name == "btrfs" for tool in found) else (),
        databases=databases.parse_databases(_ask(runner, databases.DATABASES, "the databases")),
        paths=read_paths(runner, source_paths),
        lvm=read_lvm(runner) if any(tool.name == "lvm" for tool in found) else None,
        reflinks=_read_reflinks(runner, seen),
        fills=_read_fills(runner, seen),
    )


def read_lvm(runner: RunsCommands) -> LvmFacts | None:
    """Return the logical volumes. None when LVM cannot list them (in a container, its provider says that)."""
    listed = runner.run(lvm.VOLUMES, check=False)
    return lvm.parse_volumes(listed.stdout) if listed.is_success else None


def _read_reflinks(runner: RunsCommands, seen: tuple[Mount, ...]) -> tuple[str, ...]:
    points = [mount.point for mount in seen if mount.kind == "xfs"]
    if not points:
        return ()
    command = reflink.reflink_command(points)
    return reflink.parse_reflinks(_ask(runner, command, "the features of XFS"))


def _read_fills(runner: RunsCommands, seen: tuple[Mount, ...]) -> tuple[Fill, ...]:
    command = fills.fills_command(fills.measured_points(seen))
    return fills.parse_fills(_ask(runner, command, "how full the file systems are"))


def read_paths(runner: RunsCommands, source_paths: Iterable[str]) -> tuple[PathFact, ...]:
    """Given absolute paths, return a fact about each. Runs one command, none without a path."""
    wanted = tuple(dict.fromkeys(source_paths))
    if not wanted:
        return ()
    return paths.parse_paths(_ask(runner, paths.paths_command(wanted), "the paths of the policy"))


def to_json(facts: DeviceFacts) -> str:
    """Given facts, return ASCII JSON (keep it as text: names may hold what jsonb refuses)."""
    return wire.to_json(facts)


def from_json(text: str) -> DeviceFacts:
    """Given what `to_json` returned, return the facts. Raise ProtocolBroken when it is something else."""
    return wire.from_json(DeviceFacts, text)


def _read_btrfs(runner: RunsCommands, seen: tuple[Mount, ...]) -> tuple[BtrfsFacts, ...]:
    """A btrfs that the tool cannot list (a file of it, bound into a container), or whose list nobody can
    understand, has no facts: its provider says that when a source lies there."""
    widest_last = sorted((mount for mount in seen if mount.kind == "btrfs"), key=lambda each: -len(each.root))
    by_device = {mount.device: mount for mount in widest_last}
    facts = []
    for device, mount in sorted(by_device.items()):
        subvolumes = _read_subvolumes(runner, mount)
        usage = runner.run(btrfs.usage_command(mount.point), check=False)
        if subvolumes is not None and usage.is_success:
            facts.append(BtrfsFacts(device, subvolumes, *btrfs.parse_usage(usage.stdout)))
    return tuple(facts)


def _read_subvolumes(runner: RunsCommands, mount: Mount) -> tuple[btrfs.Subvolume, ...] | None:
    for _ in range(_TRIES):
        listed = runner.run(btrfs.subvolumes_command(mount.point), check=False)
        read_only = runner.run(btrfs.read_only_command(mount.point), check=False)
        if not (listed.is_success and read_only.is_success):
            return None
        try:
            return btrfs.parse_subvolumes(listed.stdout, read_only.stdout)
        except ProtocolBroken:
            continue  # a subvolume came or went between the two lists
    return None


def _ask(runner: RunsCommands, command: Command, what: str) -> bytes:
    return wire.require(runner.run(command, check=False), what)
