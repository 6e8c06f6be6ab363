"""A cold backup on XFS: the service stands still only while a copy is made that shares its blocks."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.errors import CommandFailed
from agents.events import Froze
from agents.facts import read_facts
from agents.plan import SourceRequest
from agents.runner import Runner
from agents.snapshots import Refusal, choose, providers
from tests.live.cold_ground import Ledger, what_is_torn
from tests.live.flows import Console
from tests.live.ground import Device
from tests.live.shells import ShellSession


@pytest.fixture
def xfs(device: Device) -> Path:
    return device.make_file_system("xfs", size_mb=512)


def test_cold_takes_a_copy_and_hot_never_does(device: Device, xfs: Path, tmp_path: Path) -> None:
    console = Console(device, tmp_path)
    with Ledger(xfs / "data", device.directory / "state", f"{device.name}x") as ledger:
        ledger.start()
        request = SourceRequest(str(ledger.data), mode="cold", services=(ledger.name,))
        (point,) = console.back_up(request).points
        assert ledger.runs
    assert point.method == "cold+reflink"
    (froze,) = [event for event in console.events if isinstance(event, Froze)]
    assert froze.is_stop
    assert "reflink copy" in [step.name for step in froze.steps]
    assert not list(xfs.glob(".hotfleet-*"))
    console.restore(point.restic_id, ledger.data, tmp_path / "back")
    assert what_is_torn(tmp_path / "back") == []
    hot = console.back_up(ledger.data, fallback="accept-live")
    assert hot.points[0].method == "live"


def test_a_top_that_others_may_change_takes_no_copy(device: Device, xfs: Path, tmp_path: Path) -> None:
    (xfs / "data").mkdir()
    xfs.chmod(0o777)
    session = ShellSession("dash")
    with Runner(session, console_id="x1", run_id="r1", tell=lambda event: None) as runner:
        facts = read_facts(runner, [])
        assert str(xfs) in facts.reflinks
        provider, _, _ = choose(str(xfs / "data"), facts, is_stopped=True)
        assert provider.name == "reflink"
        assert isinstance(providers()["reflink"].can_take(str(xfs), facts), Refusal)
        with pytest.raises(CommandFailed):
            provider.prepare(runner, [str(xfs / "data")], facts)
    assert not list(xfs.glob(".hotfleet-*"))
