"""Cold under systemd, with units that hang together: what ran is up again, what stood still stands."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import pytest

from agents.errors import QuiesceFailed
from agents.events import Consistency, Froze
from tests.live.flows import Console
from tests.live.ground import wait_until
from tests.vm.machine import Vm
from tests.vm.test_cold import CHECK, FOLDER, is_active, request_for
from tests.vm.traces import wait_until_clean
from tests.vm.worker import Worker

LEDGER = "ledger.service"
_PLACE = "/run/systemd/system"
_SLEEPS = "[Service]\nExecStart=/bin/sleep infinity\n"
# It starts only where the ledger runs: whoever starts it first is caught.
_NEEDS = f"[Service]\nExecStartPre=/bin/systemctl is-active {LEDGER}\nExecStart=/bin/sleep infinity\n"
# What systemd stops along with the ledger, and leaves down when the ledger is started again.
RUNNING = {
    "lab-requires.service": f"[Unit]\nRequires={LEDGER}\nAfter={LEDGER}\n{_NEEDS}",
    "lab-binds.service": f"[Unit]\nBindsTo={LEDGER}\nAfter={LEDGER}\n{_NEEDS}",
    "lab-part.service": f"[Unit]\nPartOf={LEDGER}\nAfter={LEDGER}\n{_NEEDS}",
    "lab-requisite.service": f"[Unit]\nRequisite={LEDGER}\nAfter={LEDGER}\n{_NEEDS}",
    "lab-follows.service": f"[Unit]\nStopPropagatedFrom={LEDGER}\nAfter={LEDGER}\n{_NEEDS}",
    "lab-second.service": f"[Unit]\nRequires=lab-requires.service\nAfter=lab-requires.service\n{_NEEDS}",
    # Its socket would start it again, and cannot be started after it.
    "lab-listens.service": f"[Unit]\nRequires={LEDGER} lab-listens.socket\nAfter={LEDGER}\n{_NEEDS}",
    "lab-listens.socket": "[Socket]\nListenStream=/run/lab-listens.sock\n",
    "lab-all.target": f"[Unit]\nRequires={LEDGER}\nAfter={LEDGER}\nWants=lab-stood.service\n",
    "lab-member.service": f"[Unit]\nPartOf=lab-all.target\nAfter={LEDGER}\n{_NEEDS}",
    "lab-at@a\\x2db.service": f"[Unit]\nPartOf={LEDGER}\nAfter={LEDGER}\n{_NEEDS}",
    "lab-again.service": f"[Unit]\nBindsTo={LEDGER}\nAfter={LEDGER}\n{_NEEDS}Restart=always\n",
    # It hangs on nothing: it is not touched.
    "lab-wants.service": f"[Unit]\nWants={LEDGER}\n{_SLEEPS}",
}
UNTOUCHED = "lab-wants.service"
STANDING = {
    "lab-stood.service": f"[Unit]\nRequires={LEDGER}\nAfter={LEDGER}\n{_SLEEPS}",
    "lab-stood-part.service": f"[Unit]\nPartOf={LEDGER}\n{_SLEEPS}",
    # Its start would start what stands.
    "lab-failed.service": f"[Unit]\nRequires={LEDGER}\n[Service]\nExecStart=/bin/false\n",
}


def add_units(vm: Vm, units: dict[str, str]) -> None:
    # One question: each takes its time in a machine that is emulated.
    files = [f"cat >{shlex.quote(f'{_PLACE}/{name}')} <<'END'\n{text}END\n" for name, text in units.items()]
    vm.run("".join([*files, "systemctl daemon-reload"]), timeout_s=120)


def remove_units(vm: Vm, names: list[str]) -> None:
    words = shlex.join(names)
    vm.run(
        f"systemctl stop -- {words}; cd {_PLACE} && rm -f -- {words}; systemctl daemon-reload", check=False
    )
    vm.run(f"systemctl reset-failed; systemctl start {LEDGER}; systemctl is-active {LEDGER}")


@pytest.fixture
def family(vm: Vm) -> Iterator[Vm]:
    """The ledger runs with all that hangs on it; the rest stands, or has failed."""
    names = [*RUNNING, *STANDING]
    try:
        add_units(vm, RUNNING | STANDING)
        vm.run(f"systemctl start {LEDGER}")
        sockets_first = sorted(RUNNING, key=lambda name: name.endswith(".socket"), reverse=True)
        start = "systemctl start --job-mode=ignore-dependencies --"
        vm.run(" && ".join(f"{start} {shlex.quote(name)}" for name in sockets_first), timeout_s=240)
        vm.run("systemctl start lab-failed.service; sleep 1", check=False)
        yield vm
    finally:
        remove_units(vm, names)


def states(vm: Vm) -> dict[str, tuple[str, str]]:
    """Of each unit whether it runs, and which of its starts that is."""
    names = [LEDGER, *RUNNING, *STANDING]
    said = vm.run(f"systemctl show -p ActiveState -p InvocationID -- {shlex.join(names)}", timeout_s=120)
    blocks = [dict(line.split("=", 1) for line in block.splitlines()) for block in said.strip().split("\n\n")]
    return {
        name: (each["ActiveState"], each["InvocationID"]) for name, each in zip(names, blocks, strict=True)
    }


def assert_as_before(before: dict[str, tuple[str, str]], after: dict[str, tuple[str, str]]) -> None:
    """What ran was stopped and runs again, what stood was not touched."""
    assert {name: state for name, (state, _) in after.items()} == {
        name: state for name, (state, _) in before.items()
    }
    kept = {name for name in after if after[name] == before[name]}
    assert kept == {UNTOUCHED, *STANDING}


def test_what_stops_along_with_a_unit_runs_again_and_what_stood_still_stands(
    family: Vm, console: Console
) -> None:
    before = states(family)
    running = {name for name, (state, _) in before.items() if state == "active"}
    assert running == {LEDGER, *RUNNING}
    (point,) = console.back_up(request_for(downtime_s=300)).points
    assert_as_before(before, states(family))
    assert point.consistency is Consistency.APPLICATION
    (receipt,) = [each for each in console.events if isinstance(each, Froze) and each.is_stop]
    print(f"downtime ({point.method}): {receipt.milliseconds:.0f} ms, {receipt.steps}")
    console.restore(point.restic_id, FOLDER, "/srv/thin/restored")
    family.run(f"{CHECK} /srv/thin/restored && rm -r /srv/thin/restored")
    wait_until_clean(family, console.id, timeout_s=60)


@pytest.mark.full
def test_a_plain_stop_and_start_leaves_them_down(family: Vm) -> None:
    """The control: these are units that systemd stops and forgets."""
    family.run(f"systemctl stop {LEDGER}; systemctl start {LEDGER}")
    down = {name for name, (state, _) in states(family).items() if state != "active"}
    assert down >= set(RUNNING) - {UNTOUCHED, "lab-listens.socket"}


@pytest.mark.full
def test_the_machine_starts_them_when_the_runner_was_killed(family: Vm, console: Console) -> None:
    before = states(family)
    worker = Worker(console, request_for(downtime_s=300))
    worker.start()
    wait_until(
        lambda: not worker.is_alive() or not is_active(family), timeout_s=300, what="the ledger's stop"
    )
    assert worker.is_alive(), worker.error
    family.run(
        f"cat /run/hotfleet/hotfleet-{console.id}-*/runner | while read -r pid _; do kill -9 $pid; done"
    )
    worker.join(300)
    assert not worker.is_alive()
    wait_until_clean(family, console.id, timeout_s=300)
    after = states(family)
    assert {name: state for name, (state, _) in after.items()} == {
        name: state for name, (state, _) in before.items()
    }


@pytest.mark.full
def test_work_that_is_just_done_with_a_unit_is_not_cut_off(vm: Vm, console: Console) -> None:
    """A oneshot unit is "activating" while it works: stopped along with the ledger, it would end half-way."""
    work = f"[Unit]\nRequires={LEDGER}\n[Service]\nType=oneshot\nExecStart=/bin/sleep infinity\n"
    try:
        vm.run(f"systemctl start {LEDGER}")
        add_units(vm, {"lab-work.service": work})
        vm.run("systemctl start --no-block lab-work.service")
        before = vm.run(f"systemctl show -p InvocationID {LEDGER}")
        with pytest.raises(QuiesceFailed) as failure:
            console.back_up(request_for())
        assert "lab-work.service is just being started or stopped" in failure.value.detail
        assert vm.run(f"systemctl show -p InvocationID {LEDGER}") == before, "nothing was stopped"
        assert console.count_restore_points() == 0
    finally:
        remove_units(vm, ["lab-work.service"])


@pytest.mark.full
def test_an_umbrella_starts_no_part_that_stood(vm: Vm, console: Console) -> None:
    """Debian's postgresql.service starts every cluster whose start is "auto"."""
    start = "/etc/postgresql/15/thin/start.conf"
    umbrella, main, thin = "postgresql.service", "postgresql@15-main.service", "postgresql@15-thin.service"
    try:
        vm.run(f"cp -a {start} {start}.kept; echo auto >{start}; systemctl daemon-reload")
        vm.run(f"systemctl start {umbrella} {main}; systemctl stop {thin}", timeout_s=120)
        before = vm.run(f"systemctl show -p InvocationID {main}")
        console.back_up(request_for(umbrella, downtime_s=300))
        assert is_active(vm, umbrella) and is_active(vm, main)
        assert vm.run(f"systemctl show -p InvocationID {main}") != before
        assert not is_active(vm, thin)
    finally:
        vm.run(f"mv {start}.kept {start}; systemctl daemon-reload; systemctl stop {thin}", timeout_s=120)
        vm.run(f"systemctl start {umbrella} {main}", timeout_s=120)
