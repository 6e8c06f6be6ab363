"""Which clusters come back to a moment, and with what."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from agents.applications.comebacks import Course, Fetch, Home, Log, Seat
from agents.applications.keepers import NOBODY
from agents.applications.postgresql_replay import replay_log
from agents.applications.stored import StoredPart
from agents.errors import PlanRefused
from agents.facts import Detail, Instance
from agents.wal.asking import _choose_database, _refuse

NAME = "20261122T120000-00000001-aabbccdd"
HOME = Home("postgresql", "15/main", "PostgreSQL 15/main", ("/srv/data",), "postgres", None, False)
BASE = StoredPart("a" * 64, "", ("/srv/data",), 1000)
COURSE = Course(HOME, NOBODY, (Seat("/srv/data"),), (Fetch(0, BASE, "/srv/data"),), ())
PARTS = (
    StoredPart("b" * 64, "", (f"/home/wal/{NAME}",), 10),
    StoredPart("c" * 64, "", (f"/elsewhere/wal/{NAME}",), 10),
)
LOG = Log(PARTS, 16 * 2**20, datetime(2026, 11, 22, 12, 0, 0, 5, UTC), 77)


def test_all_parts_of_the_log_are_fetched_and_replayed_last() -> None:
    course = replay_log(COURSE, LOG)
    assert [fetch.part for fetch in course.fetches] == [BASE, *PARTS]
    assert all(fetch.is_raw for fetch in course.fetches[1:])
    (replay,) = course.preparations
    assert replay.words[:5] == ("data", NAME, str(16 * 2**20), "2026-11-22 12:00:00.000005+00", "77")
    assert replay_log(COURSE, replace(LOG, until=None)).preparations[0].words[3] == ""


def test_files_in_several_places_are_refused() -> None:
    """Their links would lead the server that replays to the files of the one that runs."""
    with pytest.raises(PlanRefused):
        replay_log(replace(COURSE, seats=(Seat("/srv/data"), Seat("/srv/wal"))), LOG)
    details = (Detail("tablespace", "/srv/fast"),)
    instance = Instance("postgresql", "15/main", "x", "15.1", ("/srv/data",), "", True, details)
    with pytest.raises(PlanRefused):
        replay_log(replace(COURSE, home=replace(HOME, instance=instance)), LOG)


def test_log_of_two_stretches_is_never_mixed() -> None:
    other = StoredPart("d" * 64, "", ("/home/wal/another",), 10)
    with pytest.raises(PlanRefused):
        replay_log(COURSE, replace(LOG, parts=(*PARTS, other)))


def test_the_shell_of_it_is_one_that_every_shell_reads() -> None:
    words = replay_log(COURSE, LOG).preparations[0]
    for source in (words.source, words.words[6]):
        subprocess.run(["dash", "-n"], input=source.encode(), check=True)
        check = ["shellcheck", "-s", "sh", "-S", "warning", "-e", "SC2034,SC2317", "-"]
        assert subprocess.run(check, input=source.encode(), capture_output=True).stdout == b""


INSTANCE = Instance("postgresql", "15/main", "PostgreSQL", "15.1", ("/data",), "", True)
GOOD = {"is_standby": False, "wal_level": "replica", "keep_mb": 64, "may_replicate": True, "role": "postgres"}


@pytest.mark.parametrize(
    ("what", "remedy"),
    [
        ({"is_standby": True}, "primary"),
        ({"wal_level": "minimal"}, "wal_level"),
        ({"keep_mb": -1}, "max_slot_wal_keep_size"),
        ({"keep_mb": None}, "max_slot_wal_keep_size"),
        ({"may_replicate": False}, "ALTER ROLE postgres REPLICATION"),
    ],
)
def test_a_server_that_cannot_be_streamed_is_refused_with_the_remedy(
    what: dict[str, object], remedy: str
) -> None:
    _refuse(INSTANCE, GOOD)
    with pytest.raises(PlanRefused) as caught:
        _refuse(INSTANCE, {**GOOD, **what})
    assert remedy in caught.value.remedy


def test_no_session_stays_in_a_template() -> None:
    def choose(*names: str) -> str:
        details = tuple(Detail("database", name) for name in names)
        return _choose_database(replace(INSTANCE, details=details))

    assert choose("template1", "template0", "shop", "postgres") == "postgres"
    assert choose("template1", "shop") == "shop"
    with pytest.raises(PlanRefused):
        choose("template1", "template0")
