"""MariaDB and MySQL: what a device says about them becomes instances, offers and recipes."""

from __future__ import annotations

import random
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from agents.applications import Ground, Patience, applications
from agents.commands import quote
from agents.errors import PlanRefused, ProtocolBroken
from agents.events import Consistency
from agents.facts import DatabaseSeen, Instance
from tests.agents.facts.samples import make_facts

CASES = Path(__file__).parents[2] / "cases" / "applications"
LOOK = (CASES / "mariadb" / "look.bin").read_bytes()
ATOMIC = Ground(True, "one snapshot holds all of its files", "btrfs")
SCATTERED = Ground(False, "its files lie on 2 volumes", remedy="Move them.")
FACTS = make_facts()
MARIADB = applications()["mariadb"]


def running(output: bytes = LOOK) -> Instance:
    return MARIADB.parse(output, FACTS)[0]


def test_nothing_is_asked_where_nothing_hints_at_a_server() -> None:
    assert MARIADB.look(FACTS) is None
    assert applications()["mysql"].look(FACTS) is None


def test_a_device_with_a_server_is_asked_in_a_shell_that_understands_it() -> None:
    seen = (DatabaseSeen("mariadb", "process", "/srv/data/db", 12),)
    command = MARIADB.look(replace(FACTS, databases=seen))
    assert command is not None and "12" in command.argv
    for shell in (["dash", "-n"], ["busybox", "ash", "-n"]):
        subprocess.run([*shell, "-c", command.argv[2]], check=True)


def test_a_server_and_a_stopped_one_are_told_apart() -> None:
    server, stopped = MARIADB.parse(LOOK, FACTS)
    assert (server.name, server.version, server.is_running) == ("/srv/data/db", "10.11.19", True)
    assert server.places == ("/srv/data/binlog", "/srv/data/db")
    assert (server.detail("socket"), server.detail("other_tables")) == ("/srv/data/s.sock", "3")
    assert server.problems == ()
    assert (stopped.name, stopped.is_running, stopped.places) == (
        "/var/lib/mysql",
        False,
        ("/var/lib/mysql",),
    )
    assert "does not run" in stopped.problems[0]
    assert applications()["mysql"].parse(LOOK, FACTS) == ()


def test_the_best_method_comes_first_and_what_is_missing_is_said() -> None:
    assert [offer.method for offer in MARIADB.offers(running(), ATOMIC, FACTS)] == [
        "snapshot",
        "stream",
        "dump",
    ]
    stream, dump = MARIADB.offers(running(), SCATTERED, FACTS)
    assert stream.missing == "its files lie on 2 volumes. Move them."
    assert dump.consistency is Consistency.NONE and "3 tables that know none" in dump.reason
    older = running(LOOK.replace(b"server 10.11.19", b"server 10.6.1"))
    (dump,) = MARIADB.offers(older, SCATTERED, FACTS)
    assert "mariadb-backup is 10.6.1, the server 10.11.19" in dump.missing
    assert MARIADB.offers(MARIADB.parse(LOOK, FACTS)[1], ATOMIC, FACTS) == ()


def test_only_a_server_without_other_tables_is_dumped_in_one_moment() -> None:
    clean = running(
        LOOK.replace(b"said\0engine Aria\x001\0\0", b"").replace(b"engine MyISAM", b"engine InnoDB")
    )
    assert MARIADB.offers(clean, ATOMIC, FACTS)[2].consistency is Consistency.APPLICATION
    uncounted = running(LOOK.replace(b"said\0engine Aria\x001\0", b"failed\0engines\0ERROR 3024\0"))
    assert uncounted.detail("other_tables") == ""
    assert MARIADB.offers(uncounted, ATOMIC, FACTS)[2].consistency is Consistency.NONE


def test_a_server_that_lets_nobody_in_is_a_problem_with_its_remedy() -> None:
    denied = (
        b"server\x0012\0/srv/data/db\0\0flavour\0\0mariadb\0\0failed\0state\0ERROR 1045 Access denied\0\0"
    )
    server = running(denied)
    assert "Access denied" in server.problems[0] and "/root/.my.cnf" in server.problems[0]
    assert MARIADB.offers(server, ATOMIC, FACTS) == ()


def test_tables_that_lead_elsewhere_are_places_or_forbid_a_snapshot() -> None:
    moved = running(LOOK.replace(b"place\0\0/srv/data/binlog\0\0", b"place\0\0/mnt/fast/app\0\0"))
    assert "/mnt/fast/app" in moved.places
    broken = running(LOOK.replace(b"place\0\0/srv/data/binlog\0\0", b"broken\0\0/srv/data/db/app\0\0"))
    assert [offer.method for offer in MARIADB.offers(broken, ATOMIC, FACTS)] == ["stream", "dump"]


def test_shells_understand_every_source_and_no_word_escapes() -> None:
    instance = running(LOOK.replace(b"/srv/data/s.sock", b"/srv/$(reboot) ' s.sock"))
    quiesce = MARIADB.recipe(instance, "snapshot", Patience(), "").quiesce
    assert quiesce is not None
    assert quote("--socket=/srv/$(reboot) ' s.sock") in quiesce.hold
    stream = MARIADB.recipe(instance, "stream", Patience(), "").streams[0].producer.argv[2]
    assert quote("--socket=/srv/$(reboot) ' s.sock") in stream
    for source in (quiesce.hold, f"f() {{\n{quiesce.release}\n}}", quiesce.undo, stream):
        for shell in (["dash", "-n"], ["busybox", "ash", "-n"]):
            subprocess.run([*shell, "-c", source], check=True)


def test_the_patience_of_a_lock_follows_the_policy() -> None:
    for freeze_ms, seconds in ((500, 1), (10_000, 2), (60_000, 15)):
        quiesce = MARIADB.recipe(running(), "snapshot", Patience(freeze_ms=freeze_ms), "").quiesce
        assert quiesce is not None and f"lock_wait_timeout = {seconds}," in quiesce.hold


def test_an_unknown_method_is_refused() -> None:
    for name in ("mariadb", "mysql"):
        with pytest.raises(PlanRefused):
            applications()[name].recipe(running(), "magic", Patience(), "")


def test_mysql_is_known_by_its_files() -> None:
    """Made from MySQL's documentation: not recorded from a server."""
    output = (CASES / "mysql" / "look.bin").read_bytes()
    mysql = applications()["mysql"]
    (server,) = mysql.parse(output, FACTS)
    assert (server.version, server.places) == ("8.0.36", ("/var/lib/mysql",))
    assert [offer.method for offer in mysql.offers(server, ATOMIC, FACTS)] == ["snapshot", "stream", "dump"]
    quiesce = mysql.recipe(server, "snapshot", Patience(), "").quiesce
    assert quiesce is not None and "flush tables with read lock" in quiesce.hold
    assert MARIADB.parse(output, FACTS) == ()


def test_nonsense_is_refused_and_never_crashes() -> None:
    chance = random.Random(3)
    for _ in range(300):
        garbled = bytearray(LOOK)
        for _ in range(chance.randrange(1, 6)):
            garbled[chance.randrange(len(garbled))] = chance.choice(b"\0/7a\xff")
        try:
            MARIADB.parse(bytes(garbled), FACTS)
        except ProtocolBroken:
            continue
    for nonsense in (
        b"place\0\0/x\0\0",
        b"server\0x\0/x\0\0",
        b"server\x001\0../x\0\0flavour\0\0mariadb\0\0",
    ):
        with pytest.raises(ProtocolBroken):
            MARIADB.parse(nonsense, FACTS)
