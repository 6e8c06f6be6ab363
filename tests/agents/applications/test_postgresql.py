"""PostgreSQL: what is understood of a device's answers, and what follows from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from agents.applications import DUMP, SNAPSHOT, STREAM, Ground, Offer, Patience, applications
from agents.applications.postgresql_copy import HALVES
from agents.applications.postgresql_look import make_look
from agents.applications.postgresql_ways import COPY, make_connection, make_file_name
from agents.errors import PlanRefused, ProtocolBroken
from agents.events import Consistency
from agents.facts import DatabaseSeen, Detail, DeviceFacts, Instance
from tests.agents.facts.samples import make_facts, make_mount
from tests.contracts.shells import check_shell

CASES = Path(__file__).resolve().parents[2] / "cases" / "applications" / "postgresql"
PLUGIN = applications()["postgresql"]
FACTS = make_facts()
ATOMIC = Ground(True, "one btrfs snapshot holds all of its files", "btrfs snapshot")
APART = Ground(False, "/b cannot be snapshotted: it is ext4", remedy="Move it.")
STATE: dict[str, object] = {
    "version": 150018,
    "is_standby": False,
    "settings": {
        "full_page_writes": "on",
        "max_replication_slots": "10",
        "config_file": "/srv/pg/postgresql.conf",
    },
    "databases": [["postgres", True], ["template0", False]],
    "tablespaces": [["pg_default", ""]],
    "role": "postgres",
    "is_superuser": True,
    "may_checkpoint": True,
    "may_replicate": True,
}


def parse(name: str, facts: DeviceFacts = FACTS) -> dict[str, Instance]:
    return {each.name: each for each in PLUGIN.parse((CASES / name).read_bytes(), facts)}


def join(*fields: str) -> bytes:
    return "".join(f"{field}\0" for field in fields).encode("utf-8", "surrogateescape")


def answer(state: Mapping[str, object] | str = STATE, *more: str) -> bytes:
    text = state if isinstance(state, str) else json.dumps(state)
    programs = [
        word
        for each in ("psql", "pg_basebackup", "pg_dump", "pg_dumpall")
        for word in ("program", each, f"/bin/{each}")
    ]
    server = ("server", "/run/postgresql", "5432", "said", "state", text, "said", "database", "postgres")
    return join("version", "15", "", *programs, *server, "said", "replication", "yes", *more)


def say(directory: str, said: bytes, *, pid: int = 7, owner: str = "postgres", unit: str = "") -> bytes:
    return join("cluster", directory, str(pid), "owner", owner, unit, "answer", said.hex(), "")


def one(output: bytes, facts: DeviceFacts = FACTS) -> Instance:
    (instance,) = PLUGIN.parse(output, facts)
    return instance


def changed(**values: object) -> Instance:
    return one(say("/srv/pg", answer(STATE | values)))


def offers(instance: Instance, ground: Ground = ATOMIC) -> dict[str, Offer]:
    return {offer.method: offer for offer in PLUGIN.offers(instance, ground, FACTS)}


def test_a_real_cluster_is_understood_with_its_tablespace_and_its_databases() -> None:
    cluster = parse("look-tablespace.bin")["/srv/hotfleet-cases/da ta"]
    assert cluster.version == "15.18"
    assert cluster.places == ("/srv/hotfleet-cases/da ta", "/srv/hotfleet-cases/space/fast")
    names = [each.value for each in cluster.details if each.name == "database"]
    assert names == ["template1", "postgres", "a b", "x'y\n--$(id)"]
    assert [each.value for each in cluster.details if each.name == "closed_database"] == [
        "template0",
        "closed",
    ]
    assert int(cluster.detail("size_bytes")) > 10_000_000
    assert list(offers(cluster)) == [SNAPSHOT, COPY, DUMP]
    assert "tablespaces" in offers(cluster, APART)[DUMP].missing


def test_what_cannot_be_asked_is_said_and_nothing_is_offered() -> None:
    found = parse("look-hung-and-no-role.bin")
    hung, strange = found["/srv/hotfleet-cases/da ta"], found["/srv/hotfleet-cases/small"]
    assert "timeout expired" in hung.problems[0]
    assert 'role "postgres" does not exist' in strange.problems[0]
    assert hung.is_running
    assert hung.places == ("/srv/hotfleet-cases/da ta", "/srv/hotfleet-cases/space/fast")
    assert offers(hung) == offers(strange) == {}


def test_settings_that_forbid_a_method_are_named() -> None:
    few = parse("look-few-settings.bin")["/srv/hotfleet-cases/few"]
    assert set(offers(few)) == {DUMP}
    missing = offers(few)[DUMP].missing
    assert "full_page_writes is off" in missing
    assert "max_wal_senders (currently 0)" in missing


def test_a_standby_is_backed_up_and_called_one() -> None:
    standby = parse("look-standby.bin")["/srv/hotfleet-cases/standby"]
    assert list(offers(standby)) == [SNAPSHOT, STREAM, COPY, DUMP]
    notes = PLUGIN.recipe(standby, SNAPSHOT, Patience(), "").notes
    assert any("standby.signal" in note for note in notes)


def test_debians_clusters_have_debians_names() -> None:
    stopped = parse("look-standby.bin")["15/main"]
    assert (stopped.is_running, stopped.places) == (False, ("/var/lib/postgresql/15/main",))
    assert offers(stopped) == {}
    elsewhere = say("/data/pg", answer()) + join("known", "15/main", "/data/pg")
    assert one(elsewhere).name == "15/main"
    stale = say("/var/lib/postgresql/15/main", answer()) + join("known", "15/main", "/data/pg")
    assert one(stale).name == "/var/lib/postgresql/15/main"


def test_a_cold_backup_stops_the_unit_whose_process_it_is() -> None:
    served = one(say("/srv/pg", answer(), unit="postgresql@15-main"))
    recipe = PLUGIN.cold(served, FACTS)
    assert recipe.quiesce is not None
    assert recipe.quiesce.is_stop
    assert "postgresql@15-main" in recipe.quiesce.hold
    with pytest.raises(PlanRefused):
        PLUGIN.cold(one(say("/srv/pg", answer())), FACTS)


def test_a_cluster_that_stands_is_as_good_as_one_that_is_stopped() -> None:
    """Its WAL lies with it: it recovers, however it ended."""
    recipe = PLUGIN.cold(replace(one(say("/srv/pg", answer())), is_running=False), FACTS)
    assert recipe.quiesce is not None and recipe.quiesce.is_watch
    assert recipe.consistency is Consistency.APPLICATION


def test_mounts_below_the_data_are_places_and_a_tmpfs_is_not() -> None:
    facts = make_facts(
        make_mount("/srv/pg/pg_wal", "xfs", "8:9"), make_mount("/srv/pg/pg_stat_tmp", "tmpfs", "0:9")
    )
    said = answer(
        STATE, "place", "/srv/pg/pg_tblspc/1", "/fast/1", "place", "/srv/pg/base/5", "/srv/pg/inside"
    )
    assert one(say("/srv/pg", said), facts).places == ("/srv/pg", "/fast/1", "/srv/pg/pg_wal")


def test_a_link_that_leads_nowhere_is_a_problem() -> None:
    instance = one(say("/srv/pg", answer(STATE, "place", "/srv/pg/pg_wal", "")))
    assert instance.problems == ("/srv/pg/pg_wal leads nowhere. Repair the link.",)
    assert instance.places == ()
    with pytest.raises(PlanRefused, match="leads nowhere"):
        PLUGIN.cold(replace(instance, is_running=False), FACTS)


def test_a_snapshot_leaves_out_only_what_names_the_old_process() -> None:
    recipe = PLUGIN.recipe(one(say("/srv/p[g]*", answer())), SNAPSHOT, Patience(), "")
    assert recipe.excludes == (r"/srv/p\[g]\*/postmaster.pid", r"/srv/p\[g]\*/postmaster.opts")


def test_without_the_right_to_a_checkpoint_a_snapshot_is_as_good() -> None:
    plain = changed(is_superuser=False, may_checkpoint=False)
    assert PLUGIN.recipe(plain, SNAPSHOT, Patience(), "").quiesce is None
    assert "GRANT pg_checkpoint" in offers(plain)[SNAPSHOT].missing
    assert PLUGIN.recipe(changed(), SNAPSHOT, Patience(), "").quiesce is not None
    assert DUMP not in offers(plain)
    assert any("no superuser" in problem for problem in plain.problems)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"version": 90624}, "9.6.24"),
        ({"may_replicate": False}, "REPLICATION"),
        ({"tablespaces": [["fast", "/fast"]]}, "tablespaces"),
        ({"settings": {"full_page_writes": "on", "max_replication_slots": "0"}}, "max_replication_slots"),
    ],
)
def test_why_there_is_no_stream(values: dict[str, object], why: str) -> None:
    instance = changed(**values)
    assert STREAM not in offers(instance)
    assert why in offers(instance, APART)[DUMP].missing


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"version": 90624}, "9.6.24"),
        ({"is_superuser": False}, "no superuser"),
        ({"settings": {"full_page_writes": "on", "wal_level": "minimal"}}, "wal_level"),
        ({"settings": {"full_page_writes": "on", "max_replication_slots": "0"}}, "a replication slot"),
    ],
)
def test_why_there_is_no_copy(values: dict[str, object], why: str) -> None:
    found = offers(changed(**values), APART)
    assert COPY not in found
    # a role that may not copy may not dump either
    assert DUMP not in found or why in found[DUMP].missing
    assert (DUMP in found) == ("is_superuser" not in values)


def test_a_copy_is_not_better_than_a_stream_and_says_so() -> None:
    one_place = offers(changed(), APART)
    assert list(one_place) == [STREAM, COPY, DUMP]
    assert "the stream does the same" in one_place[COPY].reason
    spread = changed(tablespaces=[["fast", "/fast"]])
    assert list(offers(spread, APART)) == [COPY, DUMP]
    assert "wherever its tablespaces lie" in offers(spread, APART)[COPY].reason
    notes = PLUGIN.recipe(spread, COPY, Patience(), "").notes
    assert any("folder tablespaces" in note for note in notes)
    small = one(say("/srv/pg", answer(STATE, "failed", "tools", "GNU tar and coreutils are missing")))
    assert "No copy: GNU tar" in offers(small, APART)[DUMP].missing
    unknown = one(say("/srv/pg", answer(STATE, "place", "/srv/pg/pg_wal", "")))
    assert COPY not in offers(unknown)


def test_the_shell_of_a_copy_is_clean_and_speaks_to_old_servers_too() -> None:
    check_shell(HALVES)
    for version, begin, end in (
        (140011, "pg_start_backup('hotfleet', true, false)", "pg_stop_backup(false, false)"),
        (150018, "pg_backup_start('hotfleet', true)", "pg_backup_stop(false)"),
    ):
        (stream,) = PLUGIN.recipe(changed(version=version), COPY, Patience(), "").streams
        script = next(word for word in stream.producer.argv if "\\gset" in word)
        assert f"select {begin} as first" in script
        assert f"from {end} " in script


def test_configuration_outside_of_the_data_is_mentioned() -> None:
    settings = {"full_page_writes": "on", "config_file": "/etc/postgresql/15/main/postgresql.conf"}
    notes = PLUGIN.recipe(changed(settings=settings), SNAPSHOT, Patience(), "").notes
    assert any("/etc/postgresql/15/main" in note for note in notes)
    assert PLUGIN.recipe(changed(), SNAPSHOT, Patience(), "").notes == ()


def test_a_copy_whose_links_lead_to_the_living_is_warned_of() -> None:
    """Started beside the original it would write into the tablespaces, or the WAL, of the original."""
    cluster = parse("look-tablespace.bin")["/srv/hotfleet-cases/da ta"]
    for recipe in (
        PLUGIN.recipe(cluster, SNAPSHOT, Patience(), ""),
        PLUGIN.cold(replace(cluster, service="x"), FACTS),
    ):
        assert any("/srv/hotfleet-cases/space/fast: lead those" in note for note in recipe.notes)


def test_names_of_databases_become_names_of_files_that_differ() -> None:
    names = [
        "a",
        "a.b",
        "-a",
        "--",
        "a b",
        "a/b",
        "a%2Fb",
        ".",
        "..",
        "ä",
        "A",
        "x\ny",
        "globals.sql",
        "a'b",
        "é.é",
    ]
    files = [make_file_name(name) for name in names]
    assert len(set(files)) == len(names)
    assert all("/" not in file and not file.startswith((".", "-")) and file.isascii() for file in files)
    assert files[:2] == ["a", "a.b"]


def test_a_name_is_never_read_as_a_connection_string() -> None:
    assert make_connection("host=evil dbname=x") == "dbname='host=evil dbname=x'"
    assert make_connection(r"it's \ ") == r"dbname='it\'s \\ '"


def test_the_owner_of_one_cluster_does_not_speak_for_another() -> None:
    forged = join("cluster", "/var/lib/postgresql/15/main", "0", "owner", "root", "")
    liar, honest = PLUGIN.parse(say("/home/liar", forged) + say("/srv/pg", answer()), FACTS)
    assert "cannot be understood" in liar.problems[0]
    assert [detail.name for detail in liar.details] == ["data", "owner"]
    assert (honest.problems, honest.is_running) == ((), True)


@pytest.mark.parametrize(
    "said",
    [
        answer("{}"),
        answer("[" * 100_000),
        answer(STATE | {"version": "15"}),
        answer(STATE | {"databases": []}),
        answer(STATE | {"databases": [["a"]]}),
        answer(STATE | {"settings": {"wal_level": 3}}),
        answer(STATE, "said", "sizes", '[["postgres", -1]]'),
        answer(STATE, "place", "/a", "relative"),
        answer(STATE, "place", "/a", "/"),
        answer(STATE, "server", "@abstract", "1"),
        answer()[:-1],
    ],
)
def test_nonsense_of_an_owner_is_a_problem_of_its_cluster(said: bytes) -> None:
    instance = one(say("/srv/pg", said))
    assert "cannot be understood" in instance.problems[0]
    assert (offers(instance), instance.places) == ({}, ())


@pytest.mark.parametrize(
    "output",
    [
        say("/srv/pg", answer())[:-1],
        join("owner", "postgres", ""),
        say("relative", answer()),
        say("/", answer()),
        say("/srv/pg", answer(), owner="root"),
        say("/srv/pg", answer(), owner="-x"),
        say("/srv/pg", answer(), unit="a b"),
        join("cluster", "/srv/pg", "7", "owner", "postgres", "", "answer", "xyz", ""),
        join("cluster", "/srv/pg", "-7"),
        join("cluster", "/srv/pg", "7"),
    ],
)
def test_what_root_printed_is_framed_strictly(output: bytes) -> None:
    with pytest.raises(ProtocolBroken):
        PLUGIN.parse(output, FACTS)


def test_what_only_has_the_name_of_a_server_is_no_cluster() -> None:
    assert PLUGIN.parse(say("/opt/thing", join("version", "", "")), FACTS) == ()


def test_it_looks_where_something_was_seen() -> None:
    assert PLUGIN.look(FACTS) is None
    seen = DatabaseSeen("postgresql", "directory", "/var/lib/postgresql", 0)
    command = PLUGIN.look(replace(FACTS, databases=(seen,)))
    assert command == make_look()
    check_shell(command.argv[4])  # what runs as the owner of a cluster


def test_an_old_answer_of_the_facts_still_plans() -> None:
    """Details are words: one that is not there is nothing that works."""
    bare = Instance("postgresql", "x", "PostgreSQL x", "15", ("/x",), "", True, (Detail("data", "/x"),))
    assert offers(bare) == {}
