"""What a look at a machine of the demo would have found. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from agents.facts import Detail, DeviceFacts, Instance
from agents.facts.btrfs import BtrfsFacts, Subvolume
from agents.facts.fills import Fill
from agents.facts.lvm import LogicalVolume, LvmFacts
from agents.facts.mounts import Mount
from agents.facts.system import SystemFacts
from agents.facts.tools import Tool
from backupsite.demo.machines import GB, Data, Machine

_LABELS = {"postgresql": "PostgreSQL", "mariadb": "MariaDB"}
_VERSIONS = {"postgresql": "15.18", "mariadb": "10.11.14"}
_BIN = "/usr/lib/postgresql/15/bin"
_SAID = {
    "postgresql": {
        "data": "/var/lib/postgresql/15/main", "owner": "postgres", "psql": f"{_BIN}/psql",
        "pg_dump": f"{_BIN}/pg_dump", "pg_dumpall": f"{_BIN}/pg_dumpall", "asked_in": "postgres",
        "pg_basebackup": f"{_BIN}/pg_basebackup", "full_page_writes": "on", "may_replicate": "yes",
        "max_replication_slots": "10", "socket": "/run/postgresql", "port": "5432", "is_superuser": "yes",
        "may_checkpoint": "yes", "role": "postgres", "size_bytes": "52000000000", "replication": "yes",
        "database": "shop",
    },
}  # fmt: skip
_PLACES = {"postgresql": "/var/lib/postgresql/15/main", "mariadb": "/var/lib/mysql"}


def make_facts(machine: Machine, now_s: int, *, has_surprise: bool) -> DeviceFacts:
    """Given a machine, return its facts; with `has_surprise` there is a disk that no policy speaks of."""
    processors = 2 ** (1 + machine.place % 4)
    system = SystemFacts(
        os_id="debian",
        os_version="12",
        os_name="Debian GNU/Linux 12 (bookworm)",
        kernel="6.1.0-32-amd64",
        machine="x86_64",
        host_name=machine.name,
        libc="glibc 2.36",
        processors=processors,
        memory_bytes=processors * 2 * GB,
        memory_free_bytes=processors * GB,
        boot_id=f"{machine.place:032x}",
        clock_s=now_s,
        time_zone="Europe/Berlin",
        runs_systemd=True,
    )
    mounts = tuple(_list_mounts(machine, has_surprise=has_surprise))
    is_btrfs = machine.role.kind == "btrfs"
    return DeviceFacts(
        system=system,
        tools=(Tool("lvm", "/sbin/lvm", "2.03.16"), Tool("btrfs", "/usr/bin/btrfs", "6.2")),
        mounts=mounts,
        expected_mounts=(),
        btrfs=tuple(
            BtrfsFacts(each.device, (Subvolume(5, 0, "/"),), 200 * GB, 300 * GB)
            for each in mounts
            if is_btrfs
        ),
        databases=(),
        instances=tuple(_make_instance(data) for data in machine.role.sources if data.application),
        fills=tuple(_list_fills(machine, mounts)),
        lvm=LvmFacts(() if is_btrfs else tuple(_make_volume(each) for each in mounts)),
    )


def _list_mounts(machine: Machine, *, has_surprise: bool) -> list[Mount]:
    held = (data.path or _PLACES[data.application] for data in machine.role.sources)
    points = ["/", *(path for path in held if path != "/etc")]
    if has_surprise:
        points.append("/mnt/archive")
    return [
        Mount(
            point, machine.role.kind, f"/dev/vg0/disk{n}", "/", f"253:{n}", ("rw", "relatime"), is_shared=True
        )
        for n, point in enumerate(points)
    ]


def _list_fills(machine: Machine, mounts: Iterable[Mount]) -> Iterator[Fill]:
    sizes = {data.path or _PLACES[data.application]: data.size_bytes for data in machine.role.sources}
    for mount in mounts:
        yield Fill(mount.point, int(sizes.get(mount.point, 4 * GB) * machine.scale))


def _make_volume(mount: Mount) -> LogicalVolume:
    name = mount.source.rpartition("/")[2]
    return LogicalVolume(
        group="vg0",
        name=name,
        attributes="-wi-ao----",
        size_bytes=500 * GB,
        origin="",
        pool="",
        data_share=None,
        metadata_share=None,
        tags=(),
        device=mount.device,
        group_free_bytes=180 * GB,
        extent_bytes=4 * 1024**2,
    )


def _make_instance(data: Data) -> Instance:
    name = data.application
    return Instance(
        name,
        data.instance,
        f"{_LABELS[name]} {data.instance}",
        _VERSIONS[name],
        (_PLACES[name],),
        f"{name}.service",
        is_running=True,
        details=tuple(Detail(key, value) for key, value in _SAID.get(name, {}).items()),
    )
