from __future__ import annotations

from agents.facts.mounts import Mount
from backupsite.console.coverage import find_gaps


def mount(point: str, kind: str = "ext4", device: str = "", *options: str) -> Mount:
    return Mount(point, kind, "/dev/x", "/", device or f"8:{len(point)}", options or ("rw",), False)


def test_what_no_source_covers_whole() -> None:
    mounts = [
        mount("/"),
        mount("/boot"),
        mount("/srv/data"),
        mount("/proc", "proc"),
        mount("/mnt/nas", "nfs4"),
    ]
    gaps = find_gaps(mounts, ["/etc", "/srv"])
    assert [(gap.point, gap.covered) for gap in gaps] == [("/", ("/etc", "/srv")), ("/boot", ())]


def test_the_root_covers_everything() -> None:
    assert find_gaps([mount("/"), mount("/boot"), mount("/srv")], ["/"]) == []


def test_one_file_system_counts_once_and_is_covered_through_any_of_its_points() -> None:
    twice = [mount("/srv", device="8:1"), mount("/var/lib/data", device="8:1")]
    assert [gap.point for gap in find_gaps(twice, [])] == ["/srv"]
    assert find_gaps(twice, ["/var/lib/data"]) == []


def test_a_name_that_only_begins_alike_covers_nothing() -> None:
    assert [gap.point for gap in find_gaps([mount("/srv2")], ["/srv"])] == ["/srv2"]


def test_what_cannot_change_needs_no_backup() -> None:
    assert find_gaps([mount("/snap/core", "ext4", "7:1", "ro")], []) == []
