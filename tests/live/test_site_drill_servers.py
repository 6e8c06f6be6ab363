"""Drills of servers through a whole console: backed up under a writer, proven, asked, refuted by a question.

One by default; the others are of the full campaign: half a minute each."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.live import redis_server as redis
from tests.live.drills import drill_point, drill_state, full_only
from tests.live.ground import Device
from tests.live.site import Enrolled, LiveSite, run_site
from tests.live.under_load import UNDER_LOAD

pytestmark = pytest.mark.slow
PATIENCE_S = 300
# A person's own query of each, with a value that the answer exceeds while anything was written, the database,
# and the checks that have to be among the evidence.
ASKED = {
    "postgresql": ("select count(*) from pgbench_history", "0", "postgres", {"start", "checksums"}),
    "mariadb": ("select count(*) from InnoDB", "0", "app", {"start", "CHECK TABLE"}),
    "redis": ("dbsize", "0", "0", {"redis-check-rdb", "start", "keys"}),
    "openldap": ("(objectClass=person)", "100", "dc=example,dc=org", {"slapadd", "start"}),
    "etcd": ("get side-a --print-value-only", "10", "", {"start", "keys"}),
}
CASES = [
    ("postgresql", "stream"),
    ("postgresql", "dump"),
    ("postgresql", "snapshot"),
    ("mariadb", "stream"),
    ("mariadb", "dump"),
    ("mariadb", "snapshot"),
    ("redis", "stream"),
    ("redis", "snapshot"),
    ("openldap", "stream"),
    ("openldap", "snapshot"),
    ("etcd", "stream"),
    ("etcd", "snapshot"),
]


@pytest.fixture(scope="module")
def site(live_ground: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSite]:
    with run_site(tmp_path_factory.mktemp("console") / "home") as site:
        yield site


def protect(enrolled: Enrolled, application: str, instance: Path, method: str) -> None:
    source = {"application": application, "instance": str(instance), "method": method}
    fields = {"schedule": "manual", "every_minutes": 60}
    enrolled.site.do("set_sources", device=enrolled.slug, sources=[source], fields=fields)


def back_up(site: LiveSite, device: Device, application: str, method: str) -> Enrolled:
    """Back a server up through the console while somebody writes into it."""
    device.directory.chmod(0o755)
    device.btrfs.chmod(0o755)
    enrolled = site.enrol(device, device.btrfs)
    with UNDER_LOAD[application](device) as instance:
        protect(enrolled, application, instance, method)
        site.wait_for_state(enrolled.ask("backup"), "succeeded", timeout_s=PATIENCE_S)
    return enrolled


def test_a_server_is_drilled_on_another_device(
    site: LiveSite, device: Device, make_device: Callable[..., Device]
) -> None:
    path = device.btrfs / "redis"
    path.mkdir()
    shutil.chown(path, "redis", "redis")
    enrolled, box = site.enrol(device, device.btrfs), site.enrol(make_device(), Path("/srv"))
    with redis.Server(path) as server:
        server.connect().mset({f"key {number}": "x" for number in range(10)})
        protect(enrolled, "redis", server.socket, "stream")
        enrolled.back_up()
    (point,) = [each["id"] for each in enrolled.points()]
    site.do("ask_in_drills", device=enrolled.slug, text="dbsize", value="9")
    site.do("drill_on", device=enrolled.slug, machine=box.slug)
    evidence = drill_point(enrolled, point, "succeeded")
    assert evidence["machine"] == box.slug
    names = [check[0] for check in json.loads(str(evidence["checks"]))]
    assert {"redis-check-rdb", "start", "question 1"} <= set(names)
    assert drill_state(enrolled, point) == "proven"
    box.wait_until_clean()


@full_only
@pytest.mark.parametrize(("application", "method"), CASES)
def test_a_server_is_proven_asked_and_refuted(
    site: LiveSite, device: Device, application: str, method: str
) -> None:
    enrolled = back_up(site, device, application, method)
    points = [each["id"] for each in enrolled.points()]
    text, value, database, checks = ASKED[application]
    ask = {"device": enrolled.slug, "text": text, "database": database}
    site.do("ask_in_drills", value=value, **ask)
    evidence = drill_point(enrolled, points[0], "succeeded", timeout_s=PATIENCE_S)
    names = {check[0] for check in json.loads(str(evidence["checks"]))}
    assert {"question 1"} | checks <= names
    assert {drill_state(enrolled, point) for point in points} == {"proven"}, "every stream of it"
    site.do("ask_in_drills", value="1000000000", **ask)
    evidence = drill_point(enrolled, points[0], "failed", timeout_s=PATIENCE_S)
    failed = [check[0] for check in json.loads(str(evidence["checks"])) if not check[1]]
    assert failed == ["question 2"]
    assert {drill_state(enrolled, point) for point in points} == {"failed"}
    assert [notice["kind"] for notice in enrolled.notices()] == ["drill-failed"]
    enrolled.wait_until_clean(PATIENCE_S)
