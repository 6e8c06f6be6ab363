"""etcd comes back after the directory of its member was destroyed. About 30 seconds on two cores."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.daemons import bring_back, kill, stored_of
from tests.live.etcd import Service, Writer, request_for
from tests.live.flows import Console, assert_device_is_clean
from tests.live.ground import wait_until
from tests.live.test_app_etcd import console

__all__ = ["console"]


@pytest.fixture
def member(console: Console, tmp_path: Path) -> Iterator[Service]:
    device = console.device
    name = f"hotfleet-etcd-{console.id}"
    member = Service(device.btrfs / "etcd", device.namespace, tmp_path / "state", name)
    member.start()
    yield member
    member.stop()


@pytest.mark.parametrize("method", ["stream", "snapshot"])
def test_a_destroyed_member_comes_back(console: Console, member: Service, method: str) -> None:
    writer = Writer(member)
    writer.start()
    try:
        wait_until(lambda: writer.count >= 10 or bool(writer.errors), timeout_s=120, what="the first numbers")
        before = writer.count
        outcome = console.back_up(request_for(member, method))
    finally:
        writer.ended.set()
        writer.join()
    assert writer.errors == []
    member.client("put", "younger", "1")
    stored, known = stored_of(outcome, "etcd", str(member.data))
    kill(member.daemon.pid)
    shutil.rmtree(member.data)
    bring_back(console, stored, known, member.daemon.name)
    member.wait()
    first, second = member.read_pair()
    assert first == second and first >= before
    assert member.client("get", "younger").stdout == ""
    (line,) = member.client("member", "list").stdout.splitlines()
    assert member._peer in line and "m1" in line, "the member has its own name and addresses"
    member.client("put", "after", "1")
    assert sorted(each.name for each in member.folder.iterdir()) == ["data"]
    member.stop()
    assert_device_is_clean(console)
