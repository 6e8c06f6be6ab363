"""MariaDB comes back after its data directory was destroyed, and over a server that runs.

About 60 seconds on two cores."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.applications import mariadb_comeback
from agents.applications.stored import Stored, StoredPart
from agents.errors import ComebackFailed, CommandFailed
from tests.live.daemons import bring_back, kill, stored_of
from tests.live.flows import Console, assert_device_is_clean
from tests.live.ground import Device, command
from tests.live.mariadb import Service, find_faults, request_for, writers


@pytest.fixture
def console(device: Device, tmp_path: Path) -> Console:
    return Console(device, tmp_path)


@pytest.fixture
def service(console: Console, tmp_path: Path) -> Iterator[Service]:
    home = console.device.btrfs / "my sql"
    command("btrfs", "subvolume", "create", home)
    with Service(home, tmp_path / "state", f"hotfleet-my-{console.id}").create() as service:
        yield service


def left_beside(service: Service) -> list[str]:
    return sorted(each.name for each in service.home.iterdir())


@pytest.mark.parametrize("method", ["snapshot", "stream"])
def test_a_destroyed_server_comes_back(console: Console, service: Service, method: str) -> None:
    with writers(service) as busy:
        least = {each.number: each.count for each in busy}
        outcome = console.back_up(request_for(service, method))
    service.sql("create table app.younger (n int)")
    stored, known = stored_of(outcome, "mariadb", str(service.data))
    kill(service.daemon.pid)
    shutil.rmtree(service.data)
    bring_back(console, stored, known, service.daemon.name)
    service.wait()
    assert find_faults(service, least) == []
    assert "younger" not in service.sql("show tables in app")
    assert left_beside(service) == ["binlog", "db"]
    assert service.data.owner() == "mysql"
    service.stop()
    assert_device_is_clean(console)


def test_it_comes_back_over_a_server_that_runs(console: Console, service: Service) -> None:
    with writers(service) as busy:
        least = {each.number: each.count for each in busy}
        outcome = console.back_up(request_for(service, "stream"))
    service.sql("create table app.younger (n int)")
    stored, known = stored_of(outcome, "mariadb", str(service.data))
    server = service.daemon.pid
    bring_back(console, stored, known, service.daemon.name)
    service.wait()
    assert service.daemon.pid not in (0, server)
    assert find_faults(service, least) == []
    assert "younger" not in service.sql("show tables in app")
    service.stop()
    assert_device_is_clean(console)


def test_when_it_does_not_start_the_old_data_is_back_and_its_server_runs(
    console: Console, service: Service
) -> None:
    assert service.daemon.call("stop") == 0
    good = (service.data / "ibdata1").read_bytes()
    (service.data / "ibdata1").write_bytes(b"\0" * len(good))
    (point,) = console.back_up(str(service.data)).points
    (service.data / "ibdata1").write_bytes(good)
    service.start()
    with writers(service) as busy:
        pass
    least = {each.number: each.count for each in busy}
    part = StoredPart(point.restic_id, "", point.paths, point.size_bytes)
    stored = Stored("mariadb", str(service.data), point.method, (part,), (str(service.data),))
    with pytest.raises(ComebackFailed) as caught:
        bring_back(console, stored, None, service.daemon.name)
    assert "InnoDB" in caught.value.detail, "what the server itself says"
    service.wait()
    assert find_faults(service, least) == []
    assert left_beside(service) == ["binlog", "db"]
    service.stop()
    assert_device_is_clean(console)


def test_half_a_stream_replaces_nothing(
    console: Console, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = "truncate -s 1M raw/backup.xbstream\nstream=$(command"
    broken = mariadb_comeback._PREPARE.replace("stream=$(command", cut, 1)
    outcome = console.back_up(request_for(service, "stream"))
    stored, known = stored_of(outcome, "mariadb", str(service.data))
    monkeypatch.setattr(mariadb_comeback, "_PREPARE", broken)
    server = service.daemon.pid
    with pytest.raises(CommandFailed) as caught:
        bring_back(console, stored, known, service.daemon.name)
    assert "Nothing was replaced" in caught.value.message
    assert service.daemon.pid == server and left_beside(service) == ["binlog", "db"]
    service.stop()
    assert_device_is_clean(console)
