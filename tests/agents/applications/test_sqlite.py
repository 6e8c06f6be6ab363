"""SQLite: what is said about files, and patterns that leave out everything else in their directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.applications import Ground, Patience, applications
from agents.applications.sqlite import exclude_others
from agents.errors import PlanRefused, ProtocolBroken
from agents.events import Consistency
from agents.facts import Instance
from agents.restic.patterns import make_excluded
from tests.agents.facts.samples import make_facts

LOOK = (Path(__file__).parents[2] / "cases" / "applications" / "sqlite" / "look-named.bin").read_bytes()
ATOMIC = Ground(True, "one snapshot holds all of its files", "btrfs")
SCATTERED = Ground(False, "there is no snapshot")
FACTS = make_facts()
SQLITE = applications()["sqlite"]


def named(output: bytes = LOOK) -> Instance:
    (instance,) = SQLITE.parse(output, FACTS)
    return instance


def test_a_named_file_is_an_instance_and_other_files_are_none() -> None:
    instance = named()
    assert instance.name == "/srv/it's a/d b%.sqlite"
    assert (instance.places, instance.detail("journal"), instance.problems) == (("/srv/it's a",), "wal", ())


def test_a_copy_comes_first_unless_it_would_hold_writers_up() -> None:
    wal = [(offer.method, offer.consistency) for offer in SQLITE.offers(named(), ATOMIC, FACTS)]
    assert wal == [("stream", Consistency.APPLICATION), ("snapshot", Consistency.CRASH)]
    rollback = named(_rollback())
    assert [offer.method for offer in SQLITE.offers(rollback, ATOMIC, FACTS)] == ["snapshot", "stream"]
    assert [offer.method for offer in SQLITE.offers(rollback, SCATTERED, FACTS)] == ["stream"]


def _rollback() -> bytes:
    fields = LOOK.split(b"\0")
    at = fields.index(b"file")
    fields[at + 6] = b"1"
    return b"\0".join(fields)


def test_without_a_program_only_a_snapshot_is_left_and_the_remedy_is_said() -> None:
    bare = named(LOOK.replace(b"3.40.1", b"3.26.0").replace(b"program\0python3", b"program\0perl"))
    assert "Install the program sqlite3" in bare.problems[0]
    (snapshot,) = SQLITE.offers(bare, ATOMIC, FACTS)
    assert snapshot.method == "snapshot" and "Install" in snapshot.missing


def test_a_name_that_is_no_path_is_refused() -> None:
    for name in ("relative.db", "", "/a\0b"):
        with pytest.raises(PlanRefused):
            SQLITE.look_for(FACTS, [name])
    with pytest.raises(PlanRefused, match="a file"):
        SQLITE.cold(named(), FACTS)


def test_a_place_that_is_no_real_path_is_a_broken_protocol() -> None:
    for real in (b"relative", b"/x/../y", b"/top.db"):
        fields = LOOK.split(b"\0")
        fields[fields.index(b"file") + 2] = real
        with pytest.raises(ProtocolBroken):
            SQLITE.parse(b"\0".join(fields), FACTS)


def test_the_address_of_a_file_holds_its_odd_letters_as_numbers() -> None:
    argv = SQLITE.recipe(named(), "stream", Patience(), "/var/tmp/x").streams[0].producer.argv
    assert argv[-1] == "file:/srv/it%27s%20a/d%20b%25.sqlite?mode=rw"


@pytest.mark.parametrize("name", ["app.db", "a", "d b [1]*.sqlite", "-x-wal.db", "#h^]\\"])
def test_everything_but_the_database_is_left_out(name: str) -> None:
    directory = "/srv/da ta [x]"
    own = [f"{name}{end}" for end in ("", "-wal", "-shm", "-journal")]
    excluded = make_excluded(exclude_others(directory, own))
    assert excluded is not None
    for kept in own:
        assert not excluded.search(f"{directory}/{kept}"), kept
    others = [
        name[:-1],
        f"{name}x",
        f"{name}-",
        f"{name}-wa",
        f"{name}-walk",
        f"{name}-x",
        "zz",
        "photos/1.jpg",
    ]
    for other in filter(None, others):
        assert excluded.search(f"{directory}/{other}"), other
    assert not excluded.search("/srv/other/file")
