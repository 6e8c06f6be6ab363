"""What nobody decided about: an application, a file system of the device, nothing of the kernel's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agents.facts import Instance
from backupsite.policies.found import (
    Decided,
    find_undecided,
    list_found,
    read_found,
    say_undecided,
    write_found,
)
from tests.agents.facts.samples import make_facts, make_mount
from tests.backupsite.hostile import GENERIC, MARKUP
from tests.backupsite.instances import make_etcd, make_postgresql

FACTS = make_facts(
    make_mount("/mnt/nfs", "nfs4", "0:50"),
    make_mount("/cdrom", "iso9660", "11:0", "/", "ro"),
    make_mount("/srv/pg", "xfs", "8:17"),
    make_mount("/data/again", "btrfs", "0:40", "/data"),
)
FACTS = replace(FACTS, instances=(make_postgresql("/srv/pg/15"), make_etcd("/var/lib/etcd")))
POSTGRESQL, ETCD = "postgresql:15/main", "etcd:default"


def decide(*names: str) -> list[str]:
    """Given paths and keys that sources name, return what is left, by its key or mount point."""
    decided = [Decided(name, name if name.startswith("/") else "") for name in names]
    return [each.key or each.label for each in find_undecided(list_found(FACTS), decided)]


@pytest.mark.parametrize(
    ("names", "left"),
    [
        ((), [POSTGRESQL, ETCD, "/", "/data", "/srv/pg"]),
        (("/",), []),
        (("/etc",), [POSTGRESQL, ETCD, "/data", "/srv/pg"]),
        (("/etc", "/data/again", POSTGRESQL, ETCD), []),
        (("/etc", "/data/x", POSTGRESQL, ETCD), []),
        (("/etc", "/data", POSTGRESQL), [ETCD]),
        (("/data", POSTGRESQL, ETCD), ["/"]),
        (("/srv/pg", "/var/lib"), ["/data"]),
        (("/srv/pg/16", ETCD), [POSTGRESQL, "/", "/data"]),
        (("/srv/pg-old",), [POSTGRESQL, ETCD, "/data", "/srv/pg"]),
    ],
)
def test_what_is_left_to_decide(names: tuple[str, ...], left: list[str]) -> None:
    assert decide(*names) == left


def test_an_application_whose_data_nobody_knows_is_not_covered_by_paths() -> None:
    facts = replace(make_facts(), instances=(replace(make_etcd("/x"), places=()),))
    assert [each.key for each in find_undecided(list_found(facts), [Decided("/", "/")])] == [ETCD]


@pytest.mark.parametrize("text", [*GENERIC, *MARKUP, "\udcff\ud800"])
def test_any_name_is_stored_and_shown(text: str) -> None:
    instance = Instance("etcd", text, text, "", (f"/{text}",), "", True)
    stored = write_found(replace(make_facts(), instances=(instance,)))
    assert stored.isascii() and "\0" not in stored
    assert read_found(stored).entries[0].label == text
    words = say_undecided(read_found(stored).entries)
    assert words.isprintable() and len(words.encode()) < 1000


def test_a_sentence_names_a_few() -> None:
    found = list_found(FACTS).entries
    assert say_undecided([]) == ""
    assert say_undecided(found[2:4]) == "/, /data"
    assert say_undecided(found).endswith(" and 3 more")


@pytest.mark.parametrize(
    ("places", "is_asked"),
    [(["/tmp/x"], False), (["/tmp/x", "/srv/x"], True), (["/tmpfiles"], True), ([], True)],
)
def test_nobody_has_to_decide_about_what_lies_in_tmp(places: list[str], is_asked: bool) -> None:
    passing = replace(make_etcd("/x"), places=tuple(places))
    found = list_found(replace(FACTS, instances=(passing,)))
    assert (ETCD in [each.key for each in found.entries]) is is_asked


@pytest.mark.parametrize(
    ("sources", "left"),
    [
        ([Decided("/", "/")], ["/mnt/pool"]),
        ([Decided("/mnt", "/mnt"), Decided("/", "/")], ["/mnt/pool"]),
        ([Decided("/", "/"), Decided("/mnt/pool", "/mnt/pool")], []),
        ([Decided("/", "/"), Decided("/mnt/pool/films", "/mnt/pool/films")], []),
        ([Decided("/", "/"), Decided("/mnt", "/mnt", is_out=True)], []),
    ],
)
def test_what_a_run_leaves_out_as_apart_is_not_decided_by_what_lies_above_it(
    sources: list[Decided], left: list[str]
) -> None:
    facts = make_facts(
        make_mount("/mnt/pool", "fuse.mergerfs", "0:60"), make_mount("/far", "fuse.sshfs", "0:61")
    )
    found = read_found(write_found(facts))
    assert found == list_found(facts)
    assert [each.label for each in find_undecided(found, sources)] == left
