"""Cold under systemd: units, and what would start them again, stop around a snapshot and run afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agents.errors import QuiesceFailed, ServiceDown
from agents.events import Consistency, Froze
from agents.plan import SourceRequest
from tests.live.flows import Console
from tests.live.ground import wait_until
from tests.vm.machine import Vm
from tests.vm.traces import wait_until_clean

FOLDER = "/srv/ext/ledger"
CHECK = "python3 /usr/local/lib/lab/ledger.py check"
_DROP_IN = "/run/systemd/system/ledger.service.d"


@pytest.fixture
def ledger(vm: Vm) -> Iterator[Vm]:
    """The service, running before and after."""
    vm.run("systemctl start ledger.service")
    yield vm
    vm.run(f"rm -rf /run/refuse-ledger {_DROP_IN} /run/systemd/system/ledger.socket; systemctl daemon-reload")
    vm.run("systemctl reset-failed; systemctl start ledger.service")


def request_for(*services: str, downtime_s: int = 120) -> SourceRequest:
    names = services or ("ledger.service",)
    return SourceRequest(FOLDER, mode="cold", services=names, longest_downtime_s=downtime_s)


def is_active(vm: Vm, unit: str = "ledger.service") -> bool:
    return vm.run(f"systemctl is-active {unit}", check=False).strip() == "active"


def started_at(vm: Vm) -> int:
    return int(vm.run("systemctl show -p ExecMainStartTimestampMonotonic --value ledger.service"))


@pytest.mark.full  # test_dependents.py holds the same, with all that hangs on the unit
def test_a_unit_stands_still_for_its_copy_and_runs_again(ledger: Vm, console: Console) -> None:
    before = started_at(ledger)
    (point,) = console.back_up(request_for()).points
    assert is_active(ledger) and started_at(ledger) > before
    assert point.consistency is Consistency.APPLICATION
    (receipt,) = [each for each in console.events if isinstance(each, Froze) and each.is_stop]
    print(f"downtime ({point.method}): {receipt.milliseconds:.0f} ms, {receipt.steps}")
    console.restore(point.restic_id, FOLDER, "/srv/thin/restored")
    ledger.run(f"{CHECK} /srv/thin/restored && rm -r /srv/thin/restored")
    wait_until_clean(ledger, console.id, timeout_s=60)


@pytest.mark.full
def test_a_unit_that_stood_still_stays_so(ledger: Vm, console: Console) -> None:
    ledger.run("systemctl stop ledger.service")
    console.back_up(request_for())
    assert not is_active(ledger)
    assert any("neither stopped nor started" in text for text in console.sentences)


@pytest.mark.full
def test_a_socket_that_would_start_it_meanwhile_is_stopped_too(ledger: Vm, console: Console) -> None:
    socket = "[Socket]\\nListenStream=/run/ledger.sock\\n"
    ledger.run("systemctl stop ledger.service")
    ledger.run(f"printf '{socket}' >/run/systemd/system/ledger.socket; systemctl daemon-reload")
    ledger.run("systemctl start ledger.socket ledger.service")
    since = ledger.run("date +%s").strip()
    try:
        console.back_up(request_for())
        assert is_active(ledger) and is_active(ledger, "ledger.socket")
        said = ledger.run(f"journalctl -u ledger.socket --since @{since} -o cat")
        assert "Closed" in said, said
    finally:
        ledger.run("systemctl stop ledger.socket")


@pytest.mark.full
def test_a_unit_that_nobody_knows_is_not_called_cold(ledger: Vm, console: Console) -> None:
    with pytest.raises(QuiesceFailed) as failure:
        console.back_up(request_for("ledger.service", "no-such-unit-anywhere.service"))
    assert "there is no such unit" in failure.value.detail
    assert is_active(ledger)
    assert console.count_restore_points() == 0


@pytest.mark.full
def test_a_unit_that_does_not_start_is_the_loudest_error_and_is_tried_again(
    ledger: Vm, console: Console
) -> None:
    refuse = "[Service]\\nExecStartPre=/bin/sh -c '! test -e /run/refuse-ledger'\\n"
    ledger.run(f'mkdir -p {_DROP_IN}; printf "{refuse}" >{_DROP_IN}/refuse.conf; systemctl daemon-reload')
    ledger.run("touch /run/refuse-ledger")
    with pytest.raises(ServiceDown, match="does not run again"):
        console.back_up(request_for())
    assert not is_active(ledger)
    ledger.run("rm /run/refuse-ledger; systemctl reset-failed ledger.service")
    wait_until(lambda: is_active(ledger), timeout_s=90, what="the unit that the device starts again")
    wait_until_clean(ledger, console.id, timeout_s=60)


@pytest.mark.full
def test_a_unit_that_has_to_be_killed_left_no_clean_files(ledger: Vm, console: Console) -> None:
    stubborn = "[Service]\\nTimeoutStopSec=2\\nKillSignal=SIGCONT\\n"
    ledger.run(f'mkdir -p {_DROP_IN}; printf "{stubborn}" >{_DROP_IN}/stubborn.conf; systemctl daemon-reload')
    with pytest.raises(QuiesceFailed) as failure:
        console.back_up(request_for())
    assert "had to be killed" in failure.value.detail
    assert is_active(ledger)
