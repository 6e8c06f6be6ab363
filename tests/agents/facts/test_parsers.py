"""Parsers beside real outputs (tests/cases/facts), and beside garbage."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from agents.errors import ProtocolBroken
from agents.facts.btrfs import (
    BtrfsFacts,
    Subvolume,
    find_subvolume,
    parse_subvolumes,
    parse_usage,
    path_in_file_system,
    path_on_device,
)
from agents.facts.databases import parse_databases
from agents.facts.mounts import find_mount, mounts_below, parse_expected_mounts, parse_mounts
from agents.facts.paths import parse_paths
from agents.facts.system import parse_os_release, parse_system
from agents.facts.tools import parse_tools

CASES = Path(__file__).parents[2] / "cases" / "facts"


def case(name: str) -> bytes:
    return (CASES / name).read_bytes()


def test_mounts_are_seen_with_their_escapes_options_and_roots() -> None:
    mounts = parse_mounts(case("mountinfo.txt"))
    home = find_mount("/srv/sub space/a", mounts)
    assert (home.point, home.kind, home.root, home.source) == (
        "/srv/sub space",
        "btrfs",
        "/@home",
        "/dev/loop0",
    )
    assert find_mount("/srv/mnt", mounts).device == home.device
    assert find_mount("/srv/mntx", mounts).point == "/"
    assert "/proc" in {mount.point for mount in mounts_below("/", mounts)}
    assert len({mount.point for mount in mounts}) == len(mounts)  # what is covered cannot be seen


def test_shared_mounts_are_known_as_shared() -> None:
    assert not find_mount("/", parse_mounts(case("mountinfo.txt"))).is_shared
    assert find_mount("/", parse_mounts(case("mountinfo-shared.txt"))).is_shared


def test_fstab_tells_what_is_mounted_at_boot() -> None:
    points = [mount.point for mount in parse_expected_mounts(case("fstab.txt"))]
    assert points == ["/", "/boot/efi", "/srv/with space", "/mnt/nas"]


def test_the_system_is_described() -> None:
    system = parse_system(case("system.bin"))
    assert (system.os_id, system.os_version, system.machine) == ("debian", "12", "x86_64")
    assert (system.libc, system.processors, system.runs_systemd) == ("glibc 2.36", 2, False)
    assert system.memory_bytes > system.memory_free_bytes > 0
    assert system.clock_s > 1_700_000_000
    assert (system.selinux, system.selinux_context) == ("disabled", "")


@pytest.mark.parametrize(("enforce", "mode"), [(b"1", "enforcing"), (b"0", "permissive")])
def test_the_mode_of_selinux_is_known(enforce: bytes, mode: str) -> None:
    text = case("system.bin").replace(
        b"selinux\0\0selinux_context\0\0",
        b"selinux\0" + enforce + b"\0selinux_context\0system_u:system_r:unconfined_t:s0\0",
    )
    system = parse_system(text)
    assert (system.selinux, system.selinux_context) == (mode, "system_u:system_r:unconfined_t:s0")
    with pytest.raises(ProtocolBroken):
        parse_system(case("system.bin").replace(b"selinux\0\0", b"selinux\x002\0", 1))


def test_os_release_is_read_as_a_shell_reads_it() -> None:
    assert parse_os_release("ID=x\nNAME='a b'\nBAD=\"\n#c\n1X=2\nEMPTY=\n") == {
        "ID": "x",
        "NAME": "a b",
        "EMPTY": "",
    }


def test_tools_have_versions_that_compare() -> None:
    tools = {tool.name: tool for tool in parse_tools(case("tools.bin"))}
    assert tools["btrfs"].version == "6.2"
    assert tools["unshare"].is_at_least(2, 27)
    assert not tools["unshare"].is_at_least(2, 39)
    assert not tools["setsid"].is_at_least(0)  # unknown is never new enough


def test_subvolumes_and_space_of_btrfs() -> None:
    subvolumes = parse_subvolumes(case("btrfs-subvolumes.txt"), case("btrfs-read-only.txt"))
    assert subvolumes[0] == Subvolume(5, 0, "/")
    assert Subvolume(259, 257, "/@home/with space") in subvolumes
    history = {each.path for each in subvolumes if each.is_history}
    assert history == {"/@home/.snapshots/1/snapshot", "/@home/.hotfleet-c1-r1/0"}
    assert {each.path for each in subvolumes if each.is_read_only} - history == {"/@home/fixed"}
    assert {each.path for each in subvolumes if each.is_snapshot} - history == {"/@home/copy"}
    unallocated, free = parse_usage(case("btrfs-usage.txt"))
    assert 0 < unallocated < free


def row(number: int, path: str, *, is_read_only_list: bool = False) -> str:
    rest = "top level 5" if is_read_only_list else "parent 5 top level 5 parent_uuid -"
    return f"ID {number} gen 7 {rest} path {path}\n"


@pytest.mark.parametrize("name", ["a\nb", "\n", "a\n\nb\n", "plain"])
def test_a_newline_in_the_name_of_a_subvolume_is_part_of_it(name: str) -> None:
    whole = row(256, name) + row(257, "bob")
    found = parse_subvolumes(whole.encode(), row(256, name, is_read_only_list=True).encode())
    assert [(each.path, each.is_read_only) for each in found[1:]] == [(f"/{name}", True), ("/bob", False)]


def test_nobody_makes_a_subvolume_of_another_read_only_by_a_name() -> None:
    for name in ("a\n" + row(257, "bob", is_read_only_list=True)[:-1], "a\n" + row(257, "bob")[:-1]):
        rows = row(256, name) + row(257, "bob")
        try:
            found = parse_subvolumes(rows.encode(), row(256, name, is_read_only_list=True).encode())
        except ProtocolBroken:
            continue
        assert [each.is_read_only for each in found if each.path == "/bob"] == [False]


def test_subvolumes_have_one_path_whatever_was_mounted() -> None:
    """Without -a btrfs prints paths relative to the mounted subvolume and to the top level, side by side."""
    whole, home = (
        parse_subvolumes(case(f"btrfs-subvolumes{part}.txt"), case(f"btrfs-read-only{part}.txt"))
        for part in ("", "-home")
    )
    assert whole == home


def test_paths_of_a_btrfs_are_found_through_a_mounted_subvolume() -> None:
    mount = find_mount("/srv/sub space", parse_mounts(case("mountinfo.txt")))
    facts = BtrfsFacts(
        mount.device, parse_subvolumes(case("btrfs-subvolumes.txt"), case("btrfs-read-only.txt")), 1, 1
    )
    inner = path_in_file_system("/srv/sub space/with space/x", mount)
    assert inner == "/@home/with space/x"
    assert find_subvolume(inner, facts).number == 259
    assert find_subvolume(path_in_file_system("/srv/sub space", mount), facts).number == 257
    assert path_on_device("/@home/with space", mount) == "/srv/sub space/with space"
    assert path_on_device("/@", mount) is None


def test_paths_differ_in_missing_link_and_kind() -> None:
    facts = {fact.path: fact for fact in parse_paths(case("paths.bin"))}
    assert {path: fact.kind for path, fact in facts.items()} == {
        "/etc": "directory",
        "/etc/hostname": "file",
        "/nonexistent": "missing",
        "/etc/hostname/below": "missing",
        "/proc/self": "link",
        "/mnt": "directory",
        "/dev/null": "other",
    }
    assert facts["/etc"].inode > 0


def test_a_database_is_seen_once_with_its_data_directory() -> None:
    seen = parse_databases(case("databases.bin"))
    servers = [(each.application, each.place) for each in seen if each.seen_as == "process"]
    assert servers.count(("postgresql", "/srv/pg/data")) == 1


PARSERS: list[tuple[Callable[[bytes], object], str]] = [
    (parse_mounts, "mountinfo.txt"),
    (parse_system, "system.bin"),
    (parse_tools, "tools.bin"),
    (lambda text: parse_subvolumes(text, b""), "btrfs-subvolumes.txt"),
    (lambda text: parse_subvolumes(b"", text), "btrfs-read-only.txt"),
    (parse_usage, "btrfs-usage.txt"),
    (parse_paths, "paths.bin"),
    (parse_databases, "databases.bin"),
    (parse_expected_mounts, "fstab.txt"),
]


@pytest.mark.parametrize(("parse", "name"), PARSERS)
def test_broken_output_is_refused_and_never_a_crash(parse: Callable[[bytes], object], name: str) -> None:
    whole = case(name)
    chance = random.Random(name)
    for _ in range(400):
        broken = bytearray(whole)
        for _ in range(chance.randrange(1, 4)):
            place = chance.randrange(len(broken))
            broken[place : place + chance.randrange(0, 40)] = chance.randbytes(chance.randrange(0, 6))
        try:
            parse(bytes(broken))
        except ProtocolBroken:
            continue


@pytest.mark.parametrize(
    ("parse", "garbage"),
    [
        (parse_mounts, b""),
        (parse_mounts, b"1 0 8:1 / / rw - ext4 /dev/sda rw"),
        (parse_mounts, b"1 0 8:1 / relative rw - ext4 /dev/sda rw\n"),
        (parse_system, b""),
        (parse_tools, b"restic\0/usr/bin/restic"),
        (parse_paths, b"/etc\0directory\0x\x001\0no\0/etc\0"),
        (lambda text: parse_subvolumes(b"", text), b"ID 256 gen 7 top level 5 path a\nnewline\n"),
        (parse_usage, b"nothing\n"),
        (parse_databases, b"process\0postgres\0one\x001\0/\0"),
    ],
)
def test_this_garbage_is_refused(parse: Callable[[bytes], object], garbage: bytes) -> None:
    with pytest.raises(ProtocolBroken):
        parse(garbage)
