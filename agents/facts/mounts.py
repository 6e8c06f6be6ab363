"""What is mounted on a device, and what its /etc/fstab expects."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from agents.commands import Command, to_text
from agents.errors import ProtocolBroken

MOUNTS = Command.of("cat", "/proc/self/mountinfo")
EXPECTED_MOUNTS = Command.of("sh", "-c", "[ ! -e /etc/fstab ] || cat /etc/fstab")

_OCTAL = re.compile(r"\\([0-3][0-7]{2})")
_DEVICE = re.compile(r"^\d{1,10}:\d{1,10}$")
_LIMIT = 20_000

PSEUDO_KINDS = frozenset(
    [
        "autofs",
        "bdev",
        "binder",
        "binfmt_misc",
        "bpf",
        "cgroup",
        "cgroup2",
        "configfs",
        "cpuset",
        "debugfs",
        "devpts",
        "devtmpfs",
        "efivarfs",
        "fusectl",
        "hugetlbfs",
        "mqueue",
        "nsfs",
        "overlay",
        "proc",
        "pstore",
        "ramfs",
        "rpc_pipefs",
        "securityfs",
        "selinuxfs",
        "squashfs",
        "sysfs",
        "tmpfs",
        "tracefs",
        "fuse.lxcfs",
        "fuse.portal",
        "fuse.gvfsd-fuse",
    ]
)
# What the kernel shows there, it keeps by itself: nobody stores it or restores into it. tmpfs somebody may.
KERNEL_KINDS = frozenset(
    {"proc", "sysfs", "cgroup", "cgroup2", "configfs", "devpts", "securityfs", "debugfs", "tracefs", "bpf"}
)
NETWORK_KINDS = frozenset(
    [
        "9p",
        "afs",
        "ceph",
        "cifs",
        "fuse.ceph",
        "fuse.glusterfs",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.sshfs",
        "gfs2",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "smb3",
        "smbfs",
        "virtiofs",
    ]
)
LAYERED_KINDS = frozenset(["overlay", "aufs", "fuse.fuse-overlayfs"])
SHARING_KINDS = frozenset(["btrfs", "zfs", "bcachefs"])


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of mountinfo. `root` is the part of the file system seen here, `device` its "major:minor"."""

    point: str
    kind: str
    source: str
    root: str
    device: str
    options: tuple[str, ...]
    is_shared: bool

    @property
    def is_read_only(self) -> bool:
        return "ro" in self.options

    @property
    def is_pseudo(self) -> bool:
        return self.kind in PSEUDO_KINDS

    @property
    def is_network(self) -> bool:
        return self.kind in NETWORK_KINDS

    @property
    def is_apart(self) -> bool:
        """Return whether a source above it leaves it out, unless it is named itself: another machine's data,
        or what a program shows (FUSE)."""
        return self.is_network or self.kind.startswith("fuse.")

    @property
    def is_layered(self) -> bool:
        """Return whether a directory may be of a lower layer: it cannot be renamed, and mv copies it."""
        return self.kind in LAYERED_KINDS

    @property
    def may_share(self) -> bool:
        """Return whether removing something may set nothing free: snapshots, clones and layers share it."""
        return self.kind in SHARING_KINDS or self.is_layered


@dataclass(frozen=True, slots=True)
class ExpectedMount:
    """A line of /etc/fstab that is mounted at boot."""

    point: str
    kind: str
    source: str


def parse_mounts(output: bytes) -> tuple[Mount, ...]:
    """Given /proc/self/mountinfo, return the mounts that can be seen: one a point, the last one wins.

    Raise ProtocolBroken when a line is not one of mountinfo (proc(5))."""
    lines = to_text(output).split("\n")
    if len(lines) > _LIMIT or lines[-1]:
        raise ProtocolBroken("the list of mounts is endless or ends in the middle")
    seen = {mount.point: mount for mount in map(_parse_mount, lines[:-1])}
    if "/" not in seen:
        raise ProtocolBroken("the list of mounts has no /")
    return tuple(seen[point] for point in sorted(seen))


def _parse_mount(line: str) -> Mount:
    before, separator, after = line.partition(" - ")
    left, right = before.split(" "), after.split(" ")
    if not separator or len(left) < 6 or len(right) < 3 or not _DEVICE.match(left[2]):
        raise ProtocolBroken("a line is not one of mountinfo", detail=repr(line[:300]))
    point = unescape(left[4])
    if not point.startswith("/"):
        raise ProtocolBroken("a mount point is not absolute", detail=repr(line[:300]))
    return Mount(
        point=point,
        kind=right[0],
        source=unescape(right[1]),
        root=unescape(left[3]),
        device=left[2],
        options=tuple(sorted({*left[5].split(","), *(word for word in right[2].split(",") if word == "ro")})),
        is_shared=any(word.startswith(("shared:", "master:")) for word in left[6:]),
    )


def parse_expected_mounts(output: bytes) -> tuple[ExpectedMount, ...]:
    """Given /etc/fstab, return what is mounted at boot. Lines that mount(8) skips are skipped."""
    expected = []
    for line in to_text(output).split("\n")[:_LIMIT]:
        words = line.split()
        if len(words) < 3 or words[0].startswith("#") or not words[1].startswith("/"):
            continue
        options = words[3].split(",") if len(words) > 3 else []
        if "noauto" in options or words[2] in ("swap", "none"):
            continue
        expected.append(ExpectedMount(_tidy(unescape(words[1])), words[2], unescape(words[0])))
    return tuple(expected)


def unescape(word: str) -> str:
    """Given a word of mountinfo or fstab, return it with its octal escapes decoded."""
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), word)


def find_mount(path: str, mounts: Iterable[Mount]) -> Mount:
    """Given an absolute path, return the mount that holds it. Raise ProtocolBroken when there is none."""
    holders = [mount for mount in mounts if is_within(path, mount.point)]
    if not holders:
        raise ProtocolBroken(f"no mount holds {path}")
    return max(holders, key=lambda mount: len(mount.point))


def mounts_below(path: str, mounts: Iterable[Mount]) -> list[Mount]:
    """Given a path, return the mounts inside of it, without one at the path itself."""
    return [mount for mount in mounts if mount.point != path and is_within(mount.point, path)]


def is_within(path: str, directory: str) -> bool:
    """Given two absolute paths, return whether the first is the second or lies in it."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def _tidy(point: str) -> str:
    return point.rstrip("/") or "/"
