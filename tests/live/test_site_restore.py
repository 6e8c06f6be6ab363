"""Restores through a whole console: what was replaced can be undone, and applications come back.

About 2 minutes on two cores."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.live.flows import picture_of
from tests.live.ground import Device, command, wait_until
from tests.live.pgbench import assert_whole, count_writes, load, prepare
from tests.live.postgresql import Service, destroy
from tests.live.site import Enrolled, LiveSite, run_site

pytestmark = pytest.mark.slow
PATIENCE_S = 240


@pytest.fixture(scope="module")
def site(live_ground: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSite]:
    with run_site(tmp_path_factory.mktemp("console") / "home") as site:
        yield site


def make_wish(**fields: Any) -> dict[str, Any]:
    return {"way": "in-place", "services": [], "keep": False, "folder": "", "port": 0, "part": "",
            "new_name": "", "table": "", **fields}  # fmt: skip


def protect(enrolled: Enrolled, **source: str) -> None:
    fields = {"schedule": "manual", "every_minutes": 60}
    enrolled.site.do("set_sources", device=enrolled.slug, sources=[source], fields=fields)


@pytest.fixture
def data(device: Device) -> Path:
    data = device.btrfs / "data"
    (data / "folder").mkdir(parents=True)
    (data / "folder" / "a").write_text("a")
    (data / "b").write_text("b")
    return data


def test_picked_things_are_replaced_and_it_is_undone_twice(
    site: LiveSite, device: Device, data: Path
) -> None:
    enrolled = site.enrol(device, data)
    before = picture_of(data)
    enrolled.back_up()
    (point,) = enrolled.points()
    (data / "folder" / "a").write_text("younger")
    (data / "folder" / "new").write_text("new")
    (data / "b").unlink()
    destroyed = picture_of(data)

    number = site.do("ask_replacement", point=point["id"], names=["folder", "b"], mode="exact")
    run = site.wait_for_state(number, "succeeded", timeout_s=PATIENCE_S)
    assert picture_of(data) == before
    saved = [each for each in enrolled.points() if each["run_id"] == run["id"]]
    assert [each["source"] for each in saved] == [f"{data}/folder"], "what does not exist is not saved"

    undo = site.do("ask_to_undo", number=number)
    site.wait_for_state(undo, "succeeded", timeout_s=PATIENCE_S)
    undone = picture_of(data)
    assert {name: each for name, each in undone.items() if name != b"b"} == destroyed
    assert (data / "b").read_text() == "b", "what did not exist before stays"
    site.wait_for_state(site.do("ask_to_undo", number=undo), "succeeded", timeout_s=PATIENCE_S)
    assert picture_of(data) == before
    enrolled.wait_until_clean()


def test_an_undo_where_a_subvolume_is_puts_back_what_was_in_it(
    site: LiveSite, device: Device, data: Path
) -> None:
    inner = data / "inner"
    command("btrfs", "subvolume", "create", inner)
    (inner / "c").write_text("c")
    enrolled = site.enrol(device, data)
    enrolled.back_up()
    (point,) = enrolled.points()
    for path in (inner / "c", data / "b", data / "folder" / "a"):
        path.write_text("younger")
    before = picture_of(data)
    number = site.do("ask_replacement", point=point["id"], names=[], mode="merge")
    site.wait_for_end(number, timeout_s=PATIENCE_S)
    assert (data / "b").read_text() == "b"
    (inner / "c").write_text("youngest")
    run = site.wait_for_state(site.do("ask_to_undo", number=number), "succeeded", timeout_s=PATIENCE_S)
    saved = [each["source"] for each in enrolled.points() if each["run_id"] == run["id"]]
    assert saved == [str(data)], "one restore point, not one for each thing in it"
    undone = picture_of(data)
    # the subvolume itself stays, with the time at which something was put into it
    assert undone.pop(b"inner")[:3] == before.pop(b"inner")[:3]
    assert undone == before
    enrolled.wait_until_clean()


def test_without_its_safety_point_nothing_is_replaced(site: LiveSite, device: Device, data: Path) -> None:
    enrolled = site.enrol(device, data)
    enrolled.back_up()
    (point,) = enrolled.points()
    (data / "b").unlink()
    (data / "b").symlink_to("/etc/passwd")
    (data / "folder" / "a").write_text("younger")
    before = picture_of(data)
    number = site.do("ask_replacement", point=point["id"], names=["folder", "b"], mode="merge")
    run = site.wait_for_state(number, "failed", timeout_s=PATIENCE_S)
    assert "symbolic link" in run["error_text"]
    assert picture_of(data) == before
    assert len(enrolled.points()) == 1
    enrolled.wait_until_clean()


def test_another_device_gets_a_restore(
    site: LiveSite, device: Device, make_device: Callable[..., Device], data: Path
) -> None:
    first, second = site.enrol(device, data), site.enrol(make_device(), Path("/srv"))
    first.back_up()
    (point,) = first.points()
    before, target = picture_of(data), second.device.btrfs / "from the other"
    number = site.do("ask_elsewhere", point=point["id"], device=second.slug, target=str(target))
    site.wait_for_state(number, "succeeded", timeout_s=PATIENCE_S)
    assert [run["number"] for run in second.runs()] == [number]
    assert picture_of(target) == before
    second.wait_until_clean()


def test_a_sqlite_file_comes_back(site: LiveSite, device: Device) -> None:
    path = device.btrfs / "app.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("create table account (id integer primary key)")
        database.executemany("insert into account values (?)", [(number,) for number in range(5000)])
        database.commit()
    enrolled = site.enrol(device, device.btrfs)
    protect(enrolled, application="sqlite", instance=str(path), method="stream")
    enrolled.back_up()
    path.unlink()
    (point,) = enrolled.points()
    number = site.do("ask_to_come_back", point=point["id"], wish=make_wish())
    site.wait_for_state(number, "succeeded", timeout_s=PATIENCE_S)
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("select count(*) from account").fetchone() == (5000,)
    enrolled.wait_until_clean()


def test_a_destroyed_postgresql_comes_back(site: LiveSite, device: Device, tmp_path: Path) -> None:
    device.directory.chmod(0o755)
    device.btrfs.chmod(0o755)
    data = device.btrfs / "pgdata"
    cluster = Service(data, tmp_path / "state", f"hotfleet-pg-{device.name}", "logging_collector=on")
    cluster.create()
    with cluster:
        prepare(cluster, scale=1)
        enrolled = site.enrol(device, device.btrfs)
        protect(enrolled, application="postgresql", instance=str(data), method="stream")
        with load(cluster):
            before = count_writes(cluster)
            enrolled.back_up()
        destroy(cluster)
        point = next(each for each in enrolled.points() if each["part"] == "base.tar")
        wish = make_wish(services=[cluster.daemon.name])
        number = site.do("ask_to_come_back", point=point["id"], wish=wish)
        site.wait_for_state(number, "succeeded", timeout_s=PATIENCE_S)
        cluster.wait()
        assert assert_whole(cluster) >= before
        cluster.stop()
    shutil.rmtree(data)
    enrolled.wait_until_clean()


def test_a_power_cut_after_the_safety_point_leaves_an_undo(
    site: LiveSite, device: Device, data: Path
) -> None:
    (data / "folder" / "large").write_bytes(os.urandom(30_000_000))
    enrolled = site.enrol(device, data)
    enrolled.back_up()
    (point,) = enrolled.points()
    (data / "folder" / "a").write_text("younger")
    destroyed = picture_of(data)
    number = site.do("ask_replacement", point=point["id"], names=["folder"], mode="exact")
    wait_until(lambda: len(enrolled.points()) == 2, timeout_s=PATIENCE_S, what="the safety restore point")
    assert site.run(number)["state"] == "running"
    site.cut_power()
    site.start()
    site.wait_for_state(number, "lost", timeout_s=PATIENCE_S)
    enrolled.wait_until_clean(PATIENCE_S)
    site.wait_for_state(site.do("ask_to_undo", number=number), "succeeded", timeout_s=PATIENCE_S)
    assert picture_of(data) == destroyed
    enrolled.wait_until_clean()
