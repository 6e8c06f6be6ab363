"""Snapshots of logical volumes, classic and thin. LVM freezes the file system while it makes one (fsfreeze(8)
calls a freeze "unnecessary for device-mapper devices"; seen: 30 MB of dirty data are whole in each kind). A
freeze of ours would lock it up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agents.binds import Bind, Volume
from agents.commands import Command, join
from agents.errors import PlanRefused, ProtocolBroken, SnapshotBroken
from agents.events import Consistency
from agents.facts import DeviceFacts, LogicalVolume, Mount, read_lvm
from agents.facts.btrfs import path_in_file_system
from agents.facts.mounts import find_mount
from agents.facts.wire import split_fields
from agents.snapshots.contract import Claim, Owes, Refusal, Shot, SnapshotProvider, Taken
from agents.snapshots.volumes import (
    TAG,
    Fill,
    find_command,
    hide_command,
    least_bytes,
    look_command,
    mapper_name,
    name_volume,
    parse_fill,
    remove_command,
    share_extents,
    show_command,
    status_command,
    wanted_bytes,
    write_rate,
)

# How a snapshot is mounted beside its origin, which has the same UUID, with a journal that nobody replays:
# after a freeze nothing in it is needed, and the volume is read-only.
_MOUNT_OPTIONS = {"ext4": "ro,noload", "xfs": "ro,nouuid,norecovery"}
# lvs(8), the first letter: plain, origin, mirrored by raid, thin. Others were never tried.
_KINDS = "-orV"
_FULL_POOL = 0.90
_FULL_SNAPSHOT = 0.80
_BREAKING_POOL = 0.95
_SYNC_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class _Copy:
    """A snapshot of one volume that a run makes, for the mounts whose files are wanted."""

    origin: LogicalVolume
    kind: str
    path: str
    key: str
    full_name: str

    @property
    def volume(self) -> Volume:
        return Volume(f"/dev/{self.full_name}", self.kind, _MOUNT_OPTIONS[self.kind])


class Lvm(SnapshotProvider):
    name = "lvm"
    label = "LVM snapshot"

    def can_take(self, path: str, facts: DeviceFacts) -> Claim | Refusal:
        mount = find_mount(path, facts.mounts)
        volume = facts.lvm.volume_of(mount.device) if facts.lvm is not None else None
        if volume is None:
            return _refuse_place(mount, facts)
        refusal = _refuse_volume(mount, volume) or (
            _refuse_pool(volume, facts) if volume.is_thin else _refuse_space(volume)
        )
        if refusal is not None:
            return refusal
        if volume.is_thin:
            cost = f"what changes meanwhile takes space in the pool {volume.group}/{volume.pool}"
        else:
            cost = (
                "the first change of each block is written twice until it is gone, and takes free space of "
                f"{volume.group}"
            )
        return Claim(
            Consistency.FILE_SYSTEM,
            f"{path} is on the logical volume {volume.full_name}: LVM holds the writers of its {mount.kind} "
            "for a moment, so that the snapshot is whole",
            cost=cost,
        )

    def units(self, path: str, facts: DeviceFacts) -> tuple[str, ...]:
        volume = facts.lvm.volume_of(find_mount(path, facts.mounts).device) if facts.lvm else None
        return (volume.full_name,) if volume is not None else ()

    def prepare(self, runner: Owes, paths: Sequence[str], facts: DeviceFacts, *, number: int = 0) -> Shot:
        copies = _plan_copies(runner, paths, facts, number)
        looked = [(copy.path, copy.origin.device) for copy in copies]
        said = runner.run(look_command(looked), timeout_s=_SYNC_TIMEOUT_S)
        rows = split_fields(said.stdout, 2)
        if len(rows) != len(copies):
            raise ProtocolBroken("the device does not tell how much is written to its volumes")
        extents = _share_space(copies, [write_rate(*row) for row in rows])
        hidden = f"lvm-hidden-{number}"
        runner.owe(hidden, show_command(runner.name, number))
        runner.run(hide_command(runner.name, number))
        for copy in copies:
            runner.owe(copy.key, remove_command(copy.full_name, copy.origin.full_name))
        lines = [_create_line(copy, extents.get(copy.full_name)) for copy in copies]
        by_origin = {copy.origin.device: copy for copy in copies}
        binds = []
        for path in paths:
            mount = find_mount(path, facts.mounts)
            inner = path_in_file_system(path, mount)
            binds.append(Bind(inner, path, by_origin[mount.device].volume))
        keys = (hidden, *(copy.key for copy in copies))
        return Shot(self.name, Consistency.FILE_SYSTEM, "\n".join(lines), tuple(binds), keys)

    def finish(self, runner: Owes, shot: Shot) -> Taken:
        """Thin snapshots are made inactive, so that a start of the device never shows them: now they are
        activated, after the application went on."""
        made = zip(_names(shot.binds), shot.keys[1:], strict=True)
        names = [name for name, key in made if key.startswith("lvm-thin-")]
        if names:
            words = ("-q", "--activate", "y", "--ignoreactivationskip", *names)
            runner.run(Command.of("lvm", "lvchange", *words))
        return Taken(shot.method, shot.consistency, shot.binds, shot.keys)

    def check(self, runner: Owes, taken: Taken) -> None:
        names = _names(taken.binds)
        if not names:
            return
        said = runner.run(status_command(names), check=False)
        if not said.is_success:
            raise SnapshotBroken("an LVM snapshot of this run is gone", detail=said.tail)
        by_mapped = {mapper_name(_names([bind])[0]): bind for bind in taken.binds}
        for mapped, status in split_fields(said.stdout, 2):
            if mapped not in by_mapped:
                raise ProtocolBroken("dmsetup tells of a volume that nobody asked for", detail=mapped)
            _judge(by_mapped[mapped].true_path, parse_fill(mapped, status))

    def find_leftovers(self, facts: DeviceFacts) -> Command | None:
        return find_command() if facts.lvm is not None and facts.lvm.volumes else None

    def remove_leftover(self, place: str) -> Command:
        return remove_command(place)


def _refuse_place(mount: Mount, facts: DeviceFacts) -> Refusal:
    if facts.tool("lvm") is None and mount.source.startswith("/dev/mapper/"):
        return Refusal("the program lvm is missing", "Install lvm2 on the device.")
    if facts.tool("lvm") is not None and facts.lvm is None:
        return Refusal("LVM does not list its volumes")
    return Refusal(f"{mount.point} is on {mount.source}, no logical volume")


def _refuse_volume(mount: Mount, volume: LogicalVolume) -> Refusal | None:
    if mount.kind == "btrfs":
        return Refusal(
            f"{mount.point} is btrfs, which takes its own snapshots: a second volume of the same UUID would "
            "endanger both"
        )
    if mount.kind not in _MOUNT_OPTIONS:
        return Refusal(f"snapshots of {mount.kind} on LVM were never tried")
    if volume.kind not in _KINDS or not volume.is_active:
        return Refusal(
            f"the volume {volume.full_name} ({volume.attributes}) has a kind that was never tried",
            f"Look at `lvs {volume.full_name}`.",
        )
    if volume.attributes[8:9] not in ("", "-"):
        return Refusal(
            f"the volume {volume.full_name} is damaged ({volume.attributes})",
            "Mend it first: lvs(8), lv_attr.",
        )
    return None


def _refuse_space(volume: LogicalVolume) -> Refusal | None:
    least = least_bytes(volume)
    if volume.group_free_bytes // volume.extent_bytes * volume.extent_bytes >= least:
        return None
    return Refusal(
        f"the volume group {volume.group} has {_amount(volume.group_free_bytes)} free, and a snapshot of "
        f"{volume.full_name} needs {_amount(least)} at least",
        f"Give {volume.group} another disk (`vgextend {volume.group} /dev/...`), or use a thin volume.",
    )


def _refuse_pool(volume: LogicalVolume, facts: DeviceFacts) -> Refusal | None:
    name = f"{volume.group}/{volume.pool}"
    pool = facts.lvm.volume(name) if facts.lvm is not None else None
    if pool is None or pool.data_share is None or pool.metadata_share is None:
        return Refusal(f"LVM does not tell how full the pool {name} is")
    if pool.attributes[8:9] not in ("", "-"):
        return Refusal(f"the pool {name} is damaged ({pool.attributes})", "Mend it first: lvmthin(7).")
    if pool.data_share >= _FULL_POOL:
        return Refusal(
            f"the pool {name} is {pool.data_share:.0%} full: a full pool stops its live volumes too",
            f"Extend it: `lvextend -l +20%LV {name}`.",
        )
    if pool.metadata_share >= _FULL_POOL:
        return Refusal(
            f"the metadata of the pool {name} is {pool.metadata_share:.0%} full",
            f"Extend it: `lvextend --poolmetadatasize +128M {name}`.",
        )
    return None


def _plan_copies(runner: Owes, paths: Sequence[str], facts: DeviceFacts, number: int) -> list[_Copy]:
    """Given real paths, return one snapshot for each volume below them, with its space as it is now."""
    now = read_lvm(runner)
    copies: dict[str, _Copy] = {}
    for path in paths:
        mount = find_mount(path, facts.mounts)
        origin = now.volume_of(mount.device) if now is not None else None
        if origin is None:
            raise PlanRefused(f"{path} is on no logical volume any more")
        if origin.device not in copies:
            key = f"lvm-{'thin-' if origin.is_thin else ''}{number}-{len(copies)}"
            full_name = f"{origin.group}/{name_volume(runner.name, number, len(copies))}"
            copies[origin.device] = _Copy(origin, mount.kind, mount.point, key, full_name)
    return list(copies.values())


def _share_space(copies: Sequence[_Copy], rates: Sequence[float]) -> dict[str, int]:
    """Return how many extents each classic snapshot gets. Raise PlanRefused when a group has not enough."""
    extents: dict[str, int] = {}
    classic = [(copy, rate) for copy, rate in zip(copies, rates, strict=True) if not copy.origin.is_thin]
    for group in dict.fromkeys(copy.origin.group for copy, _ in classic):
        own = [(copy, rate) for copy, rate in classic if copy.origin.group == group]
        origin = own[0][0].origin
        shares = share_extents(
            [wanted_bytes(copy.origin, rate) for copy, rate in own],
            [least_bytes(copy.origin) for copy, _ in own],
            origin.group_free_bytes,
            origin.extent_bytes,
        )
        if not shares:
            raise PlanRefused(
                f"the volume group {group} has {_amount(origin.group_free_bytes)} free: not enough for "
                f"{len(own)} snapshots at once",
                remedy=f"Give it another disk (`vgextend {group} /dev/...`), or back up its sources apart.",
            )
        extents |= {copy.full_name: share for (copy, _), share in zip(own, shares, strict=True)}
    return extents


def _create_line(copy: _Copy, extents: int | None) -> str:
    """The description of what is gone after the run is not kept in /etc/lvm (`-A n`)."""
    name = copy.full_name.partition("/")[2]
    words = ["lvm", "lvcreate", "-q", "-y", "-A", "n", "-s", "-p", "r", "--addtag", TAG, "-n", name]
    words += ["-l", str(extents)] if extents is not None else ["-k", "y"]
    return f"{join([*words, copy.origin.full_name])} >/dev/null || return 1"


def _names(binds: Sequence[Bind]) -> list[str]:
    """The "group/name" of each volume once, in the order in which they were taken."""
    paths = dict.fromkeys(bind.volume.path for bind in binds if bind.volume is not None)
    return [path.removeprefix("/dev/") for path in paths]


def _judge(path: str, fill: Fill) -> None:
    """Raise SnapshotBroken when a snapshot is none any more, or soon will be."""
    limit = _BREAKING_POOL if fill.is_pool else _FULL_SNAPSHOT
    if not fill.trouble and fill.share < limit:
        return
    what = "The pool of the snapshot" if fill.is_pool else "The space for the snapshot"
    why = fill.trouble or f"{fill.share:.0%} of it is used"
    raise SnapshotBroken(
        f"{what} of {path} was too small: {why}. Too much was written while it was read.",
        remedy="Back up when less is written"
        + (
            ", or extend the pool (`lvextend`)." if fill.is_pool else ", or give its volume group more space."
        ),
    )


def _amount(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 30):.1f} GiB" if size_bytes >= 1 << 30 else f"{size_bytes >> 20} MiB"
