"""PostgreSQL comes back to any moment through a whole console: its programs follow the log, its page asks.

About a minute on two cores."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from tests.live.ground import Device, wait_until
from tests.live.postgresql import Cluster, Service, destroy
from tests.live.site import Enrolled, LiveSite, run_site
from tests.live.visitor import Visitor

pytestmark = [pytest.mark.slow, pytest.mark.full]
PATIENCE_S = 240
# What issue 4 promises.
MOST_LOST_S = 5.0


@pytest.fixture(scope="module")
def site(live_ground: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSite]:
    with run_site(tmp_path_factory.mktemp("console") / "home") as site:
        yield site


@pytest.fixture
def cluster(device: Device, tmp_path: Path) -> Iterator[Service]:
    for folder in (device.directory, device.btrfs):
        folder.chmod(0o755)
    data = device.btrfs / "pgdata"
    limits = ("logging_collector=on", "max_slot_wal_keep_size=256MB")
    cluster = Service(data, tmp_path / "state", f"hotfleet-pg-{device.name}", *limits)
    cluster.create()
    with cluster:
        yield cluster
    shutil.rmtree(data, ignore_errors=True)


def keep_log(enrolled: Enrolled, cluster: Cluster, *, keeps_log: bool = True) -> None:
    source = {"application": "postgresql", "instance": str(cluster.data), "method": "stream"}
    fields = {"schedule": "manual", "every_minutes": 60}
    sources = [{**source, "keeps_log": keeps_log}]
    enrolled.site.do("set_sources", device=enrolled.slug, sources=sources, fields=fields)


def stream_of(enrolled: Enrolled) -> sqlite3.Row:
    (row,) = enrolled.site.rows(
        "SELECT s.* FROM recovery_walstream s JOIN fleet_device d ON d.id = s.device_id WHERE d.slug = ?",
        enrolled.slug,
    )
    return row


def wait_for(enrolled: Enrolled, state: str) -> None:
    def is_there() -> bool:
        rows = enrolled.site.rows("SELECT state FROM recovery_walstream")
        return bool(rows) and stream_of(enrolled)["state"] == state

    wait_until(is_there, timeout_s=PATIENCE_S, what=f"a log that is {state}")


def write(cluster: Cluster, number: int) -> datetime:
    """Commit a number; return the server's time after that."""
    cluster.sql(f"insert into ledger values ({number})")
    return datetime.fromisoformat(cluster.sql("select clock_timestamp()"))


def numbers(cluster: Cluster) -> list[int]:
    return [int(each) for each in cluster.sql("select n from ledger order by n").split()]


def wait_until_here(enrolled: Enrolled, moment: datetime) -> None:
    """Wait until all that was written before a moment is in the console."""

    def is_here() -> bool:
        reached = stream_of(enrolled)["reached_at"]
        return reached is not None and datetime.fromisoformat(f"{reached}+00:00") > moment

    wait_until(is_here, timeout_s=PATIENCE_S, what=f"the log up to {moment}")


def come_back(enrolled: Enrolled, visitor: Visitor, cluster: Service, **fields: str) -> sqlite3.Row:
    """Bring the server back through its page; return the run."""
    point = next(each for each in enrolled.points() if each["part"] == "base.tar")
    page = visitor.post(
        f"/points/{UUID(point['id'])}/comeback/",
        {"way": "in-place", "services": cluster.daemon.name, "typed": enrolled.slug, **fields},
    )
    assert "/runs/" in page.address, page.text
    number = int(page.address.rstrip("/").rpartition("/")[2])
    run = enrolled.site.wait_for_state(number, "succeeded", timeout_s=PATIENCE_S)
    cluster.wait()
    return run


def test_it_comes_back_to_a_moment_and_as_far_as_its_log_goes(
    site: LiveSite, device: Device, cluster: Service
) -> None:
    cluster.sql("create table ledger (n int)")
    enrolled = site.enrol(device, device.btrfs)
    site.do("add_person", name="grace", password="correct horse battery")
    visitor = Visitor(site.origin, "grace", "correct horse battery")
    keep_log(enrolled, cluster)
    wait_for(enrolled, "following")
    assert stream_of(enrolled)["slot"] in cluster.sql("select slot_name from pg_replication_slots")
    enrolled.back_up()

    # A console that lost its power goes on where it ended: the server kept its log meanwhile.
    site.cut_power()
    written = write(cluster, 0)
    site.start()
    wait_until_here(enrolled, written)
    assert not [each for each in enrolled.notices() if each["kind"] == "log-gap"]

    # To a moment: what was committed before it is there, and nothing that came later.
    moment = write(cluster, 1)
    time.sleep(2.2)
    last = write(cluster, 2)
    cluster.sql("drop table ledger")
    wait_until_here(enrolled, last)
    page = visitor.get(f"/devices/{enrolled.slug}/")
    assert "Any moment from" in page.text and "Followed" in page.text
    destroy(cluster)
    chosen = (moment + timedelta(seconds=1)).replace(microsecond=0)
    assert moment < chosen < last
    run = come_back(enrolled, visitor, cluster, until="moment", moment=f"{chosen:%Y-%m-%dT%H:%M:%S}")
    assert numbers(cluster) == [0, 1]
    assert f"{chosen:%H:%M:%S} UTC" in visitor.get(f"/runs/{run['number']}/").text
    assert cluster.sql("select pg_is_in_recovery()") == "f"

    # The log of what runs now is another one: it needs a backup of its own, and that is said.
    wait_until(
        lambda: any(each["kind"] == "log-gap" for each in enrolled.notices()),
        timeout_s=PATIENCE_S,
        what="the notice of the gap",
    )
    wait_for(enrolled, "following")
    enrolled.back_up()

    # As far as it goes: what is lost was committed within the last seconds.
    ledger: dict[int, datetime] = {}
    until = time.monotonic() + 10
    while time.monotonic() < until:
        number = len(ledger) + 3
        ledger[number] = write(cluster, number)
    destroyed = datetime.now(tz=ledger[3].tzinfo)
    destroy(cluster)
    newest = max(enrolled.points(), key=lambda each: each["made_at"])
    assert newest["part"] == "base.tar"
    come_back(enrolled, visitor, cluster, until="newest")
    lost = set(ledger) - set(numbers(cluster))
    late = [number for number in lost if ledger[number] < destroyed - timedelta(seconds=MOST_LOST_S)]
    assert not late, f"lost although they were older: {late}"
    assert numbers(cluster) == [0, 1, *sorted(set(ledger) - lost)], "what is there has no hole"

    # Turned off: nothing of ours is left on the server.
    keep_log(enrolled, cluster, keeps_log=False)
    wait_for(enrolled, "off")
    assert cluster.sql("select count(*) from pg_replication_slots") == "0"
    cluster.stop()
    enrolled.wait_until_clean()
