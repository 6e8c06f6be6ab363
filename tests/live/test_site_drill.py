"""Drills through a whole console: its worker backs up, drills on its own machine, writes it down."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agents.facts import read_facts
from agents.leftovers import find_leftovers
from agents.local import LocalSession
from agents.runner import Runner
from agents.scratch import drop_scratch, make_scratch
from backupsite.recovery.drills import BESIDE
from tests.live.drills import Prover, assert_proven, drill_point, drill_state, full_only
from tests.live.ground import Device, wait_until
from tests.live.site import LiveSite, run_site

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(live_ground: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSite]:
    with run_site(tmp_path_factory.mktemp("console") / "home") as site:
        yield site


def test_files_are_proven_and_a_repository_that_rots_is_an_alert(site: LiveSite, device: Device) -> None:
    folder = device.btrfs / "data"
    folder.mkdir()
    (folder / "file").write_bytes(os.urandom(1_000_000))
    (folder / "\udcff").write_text("a name that is no text")
    enrolled = site.enrol(device, folder)
    enrolled.back_up()
    (point,) = [each["id"] for each in enrolled.points()]
    assert drill_state(enrolled, point) == "none"
    evidence = drill_point(enrolled, point, "succeeded")
    assert evidence["result"] == "passed"
    assert [check[0] for check in json.loads(str(evidence["checks"]))] == ["restore", "manifest", "hashes"]
    assert (evidence["files"], len(json.loads(str(evidence["hashes"])))) == (2, 2)
    assert drill_state(enrolled, point) == "proven"
    assert enrolled.notices() == []
    away = enrolled.repository.rename(enrolled.repository.with_name("away"))
    evidence = drill_point(enrolled, point, "failed")
    assert evidence["result"] == "impossible"
    assert drill_state(enrolled, point) == "proven", "what could not be done says nothing about the data"
    assert enrolled.notices() == []
    away.rename(enrolled.repository)
    rot(enrolled.repository)
    evidence = drill_point(enrolled, point, "failed")
    assert evidence["result"] == "failed"
    assert drill_state(enrolled, point) == "failed"
    (notice,) = enrolled.notices()
    assert (notice["kind"], notice["url"]) == ("drill-failed", f"/drills/{evidence['id']}/")


def test_a_database_answers_the_persons_question(site: LiveSite, device: Device) -> None:
    path = device.btrfs / "app.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("create table account (id integer primary key)")
        database.executemany("insert into account values (?)", [(number,) for number in range(5000)])
        database.commit()
    enrolled = site.enrol(device, device.btrfs)
    source = {"application": "sqlite", "instance": str(path), "method": "stream"}
    fields = {"schedule": "manual", "every_minutes": 60}
    site.do("set_sources", device=enrolled.slug, sources=[source], fields=fields)
    enrolled.back_up()
    (point,) = [each["id"] for each in enrolled.points()]
    site.do("ask_in_drills", device=enrolled.slug, text="select count(*) from account", value="4999")
    evidence = drill_point(enrolled, point, "succeeded")
    names = [check[0] for check in json.loads(str(evidence["checks"]))]
    assert {"start", "integrity_check", "question 1"} <= set(names)
    site.do("ask_in_drills", device=enrolled.slug, text="select count(*) from account", value="5000")
    evidence = drill_point(enrolled, point, "failed")
    failed = [check[0] for check in json.loads(str(evidence["checks"])) if not check[1]]
    assert failed == ["question 2"]


def test_each_new_restore_point_is_drilled_by_the_clock(site: LiveSite, device: Device) -> None:
    folder = device.btrfs / "data"
    folder.mkdir()
    (folder / "file").write_text("something")
    enrolled = site.enrol(device, folder)
    site.do("drill_every_point", device=enrolled.slug)
    enrolled.back_up()
    (point,) = [each["id"] for each in enrolled.points()]
    wait_until(lambda: drill_state(enrolled, point) == "proven", timeout_s=120, what="the drill")
    asked = [(run["kind"], run["requested_by"]) for run in enrolled.runs()]
    assert asked == [("backup", "ada"), ("drill", "schedule")]
    (folder / "file").write_text("something else")
    enrolled.back_up()
    newest = enrolled.points()[-1]["id"]
    wait_until(lambda: drill_state(enrolled, newest) == "proven", timeout_s=120, what="the second drill")


def test_each_new_restore_point_is_sampled_by_the_clock(site: LiveSite, device: Device) -> None:
    folder = device.btrfs / "data"
    folder.mkdir()
    (folder / "file").write_bytes(os.urandom(1_000_000))
    enrolled = site.enrol(device, folder)
    site.do("sample_every_point", device=enrolled.slug)
    enrolled.back_up()
    (point,) = [each["id"] for each in enrolled.points()]
    wait_until(lambda: drill_state(enrolled, point) == "sample", timeout_s=120, what="the sample")
    assert [run["kind"] for run in enrolled.runs()] == ["backup", "sample"]
    rot(enrolled.repository)
    (folder / "other").write_text("x")
    enrolled.back_up()
    newest = enrolled.points()[-1]["id"]
    wait_until(lambda: drill_state(enrolled, newest) == "failed", timeout_s=120, what="the second sample")
    wait_until(lambda: bool(enrolled.notices()), what="the notice, which is written after the state")
    assert [notice["kind"] for notice in enrolled.notices()] == ["drill-failed"]


@full_only
def test_a_drill_device_that_does_not_answer_says_nothing_about_the_data(
    site: LiveSite, device: Device, make_device: Callable[..., Device]
) -> None:
    folder = device.btrfs / "data"
    folder.mkdir()
    (folder / "file").write_text("something")
    enrolled, box = site.enrol(device, folder), site.enrol(make_device(), Path("/srv"))
    enrolled.back_up()
    (point,) = [each["id"] for each in enrolled.points()]
    site.do("drill_on", device=enrolled.slug, machine=box.slug)
    box.device.cut()
    # an attempt after the other, which wait longer and longer
    number = site.do("ask_to_drill", point=point)
    site.wait_for_state(number, "failed", timeout_s=300)
    found = site.rows("SELECT * FROM recovery_drill WHERE policy_id IS NOT NULL ORDER BY id")[-1]
    assert (found["result"], found["machine"]) == ("impossible", box.slug)
    assert drill_state(enrolled, point) == "none"
    enrolled.forget()


def test_a_drill_works_beside_a_backup_of_the_consoles_own_machine(device: Device, tmp_path: Path) -> None:
    console = Prover(device, tmp_path)
    folder = device.btrfs / "data"
    folder.mkdir()
    (folder / "file").write_bytes(os.urandom(1_000_000))
    stored = console.store(folder, "", "btrfs")
    with Runner(LocalSession(), console_id=console.id, run_id="backup", tell=console.tell) as backup:
        scratch = make_scratch(backup, 1)
        console.id += BESIDE
        assert_proven(console.drill(stored))
        assert Path(scratch).is_dir(), "a drill took the directory of a backup for a leftover"
        left = [each.path for each in find_leftovers(backup, read_facts(backup)) if console.id in each.path]
        assert left == []
        drop_scratch(backup)


def rot(repository: Path) -> None:
    """Change bytes in the middle of the largest pack, as a disk does."""
    packs = sorted((repository / "data").glob("*/*"), key=lambda each: each.stat().st_size)
    with packs[-1].open("r+b") as file:
        file.seek(200_000)
        file.write(b"rot")
