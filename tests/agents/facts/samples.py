"""Facts of a device that never existed, for plans and providers."""

from __future__ import annotations

from agents.facts import (
    BtrfsFacts,
    DeviceFacts,
    ExpectedMount,
    LvmFacts,
    Mount,
    PathFact,
    Subvolume,
    SystemFacts,
    Tool,
)

SYSTEM = SystemFacts(
    "debian", "12", "Debian 12", "6.1.0", "x86_64", "web1", "glibc 2.36", 4, 8 << 30, 4 << 30,
    "6b6d8c3e-9b5c-43c7-a6c4-94586f953366", 1_790_000_000, "Etc/UTC", True,
)  # fmt: skip


def make_mount(point: str, kind: str, device: str, root: str = "/", *options: str) -> Mount:
    return Mount(point, kind, f"/dev/{device}", root, device, options or ("rw",), False)


def make_facts(
    *extra: Mount,
    paths: tuple[str, ...] = (),
    expected: tuple[str, ...] = (),
    tools: tuple[str, ...] = ("btrfs", "unshare"),
    others: tuple[PathFact, ...] = (),
    lvm: LvmFacts | None = None,
) -> DeviceFacts:
    """A root on ext4; /data on btrfs with a nested subvolume and what another run left; `extra` mounts."""
    subvolumes = (
        Subvolume(5, 0, "/"),
        Subvolume(256, 5, "/data"),
        Subvolume(257, 256, "/data/nested"),
        Subvolume(258, 256, "/data/.hotfleet-c9-r9/0", True, True),
        Subvolume(259, 256, "/data/.snapshots/1", True, True),
    )
    mounts = (
        make_mount("/", "ext4", "8:1"),
        make_mount("/proc", "proc", "0:5"),
        make_mount("/run", "tmpfs", "0:6"),
        make_mount("/data", "btrfs", "0:40", "/data"),
        *extra,
    )
    return DeviceFacts(
        system=SYSTEM,
        tools=tuple(Tool(name, f"/usr/bin/{name}", "6.2") for name in tools),
        mounts=mounts,
        expected_mounts=tuple(ExpectedMount(point, "ext4", "/dev/sdb1") for point in expected),
        btrfs=(BtrfsFacts("0:40", subvolumes, 1 << 30, 2 << 30),),
        databases=(),
        paths=(*(PathFact(path, "directory", 1, 2, False, path) for path in paths), *others),
        lvm=lvm,
    )
