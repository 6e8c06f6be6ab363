"""Redis comes back after its directory was destroyed, whatever it reads when it starts.

About 40 seconds on two cores."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.errors import RestoreTargetRefused
from tests.live.daemons import bring_back, kill, stored_of
from tests.live.flows import Console, assert_device_is_clean
from tests.live.ground import Device, command
from tests.live.layers import layered
from tests.live.redis_server import Service, find_faults, request_for, writers


@pytest.fixture
def console(device: Device, tmp_path: Path) -> Console:
    return Console(device, tmp_path)


@pytest.fixture(params=["yes", "no"], ids=["append-only", "rdb"])
def service(console: Console, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Service]:
    data = console.device.btrfs / "re dis"
    command("btrfs", "subvolume", "create", data)
    shutil.chown(data, "redis", "redis")
    name = f"hotfleet-rd-{console.id}"
    with Service(data, tmp_path / "state", name, "--appendonly", request.param) as service:
        yield service


@pytest.mark.parametrize("service", ["yes"], indirect=True)
def test_a_subvolume_gives_way_and_is_gone(console: Console, service: Service) -> None:
    service.connect().set("word", "then")
    stored, known = stored_of(console.back_up(request_for(service)), "redis", str(service.socket))
    service.connect().set("word", "since")
    bring_back(console, stored, known, service.daemon.name)
    service.wait()
    assert service.connect().get("word") == "then"
    assert sorted(each.name for each in service.data.parent.iterdir()) == [service.data.name]
    assert service.daemon.call("stop") == 0
    assert_device_is_clean(console)


def test_a_directory_on_layers_is_not_swapped(console: Console, tmp_path: Path) -> None:
    """Its rename is a copy: whoever dies meanwhile leaves half of it."""
    base = console.device.make_file_system("ext4", size_mb=64)
    with layered(base, "data") as merged:
        shutil.chown(merged / "data", "redis", "redis")
        with Service(merged / "data", tmp_path / "state", f"hotfleet-rd-{console.id}") as service:
            stored, known = stored_of(console.back_up(request_for(service)), "redis", str(service.socket))
            pid = service.daemon.pid
            with pytest.raises(RestoreTargetRefused, match="layered"):
                bring_back(console, stored, known, service.daemon.name)
            assert service.daemon.pid == pid, "nothing was stopped"
            assert [each.name for each in merged.iterdir()] == ["data"]
            assert service.daemon.call("stop") == 0
        assert_device_is_clean(console)


@pytest.mark.parametrize("method", ["stream", "snapshot"])
def test_a_destroyed_server_comes_back(console: Console, service: Service, method: str) -> None:
    if method == "snapshot" and "no" in service.settings:
        method = "stream"  # there is no snapshot without append-only files: twice is as good as once
    with writers(service) as busy:
        least = {each.number: each.count for each in busy}
        outcome = console.back_up(request_for(service, method))
    service.connect().set("younger", "1")
    stored, known = stored_of(outcome, "redis", str(service.socket))
    kill(service.daemon.pid)
    shutil.rmtree(service.data)
    bring_back(console, stored, known, service.daemon.name)
    service.wait()
    assert find_faults(service, least) == []
    assert service.connect().get("younger") is None
    assert sorted(each.name for each in service.data.parent.iterdir()) == [service.data.name]
    # what it writes from now on is read at the next start
    service.connect().set("after", "1")
    service.connect().save()
    assert service.daemon.call("stop") == 0 and service.daemon.call("start") == 0
    service.wait()
    assert service.connect().get("after") == "1" and find_faults(service, least) == []
    assert service.daemon.call("stop") == 0
    assert_device_is_clean(console)
