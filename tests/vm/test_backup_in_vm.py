"""Backups of the whole machine's life: it restarts, it loses its power, its clock is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from agents.errors import ConnectionLost
from agents.events import Checked, CheckState
from tests.live.flows import Console
from tests.vm.machine import Vm
from tests.vm.traces import wait_until_clean
from tests.vm.worker import Worker

SOURCE = "/srv/thin/source"
_LARGE_MB = 100


@pytest.fixture
def source(vm: Vm) -> Iterator[str]:
    """A folder with a few files. It is gone after the test."""
    vm.run(f"mkdir -p {SOURCE}/sub; echo one >{SOURCE}/first; cp -a /etc/ssh {SOURCE}/sub/")
    yield SOURCE
    vm.run(f"rm -rf {SOURCE}")


@pytest.mark.full
def test_a_live_directory_is_stored_and_restored(vm: Vm, console: Console, source: str) -> None:
    outcome = console.back_up(source, fallback="accept-live")
    (point,) = outcome.points
    console.restore(point.restic_id, source, "/srv/thin/restored")
    vm.run(f"diff -r {source} /srv/thin/restored && rm -r /srv/thin/restored")
    wait_until_clean(vm, console.id, timeout_s=60)


@pytest.mark.full
def test_the_whole_of_root_is_stored_although_its_own_tmp_is_read_only_meanwhile(
    vm: Vm, console: Console
) -> None:
    outcome = console.back_up("/", fallback="accept-live", excludes=("/usr/*", "/boot/*", "/var/*/*", "/srv"))
    (point,) = outcome.points
    console.restore(point.restic_id, "/", "/srv/thin/restored", names=["etc/passwd", "tmp", "proc"])
    vm.run("cd /srv/thin && cmp restored/etc/passwd /etc/passwd && rmdir restored/proc && rm -r restored")
    wait_until_clean(vm, console.id, timeout_s=60)


@pytest.mark.parametrize("way", [pytest.param("reboot", marks=pytest.mark.full), "power cut"])
def test_a_machine_that_goes_down_in_the_middle_is_clean_and_backed_up_afterwards(
    vm: Vm, console: Console, source: str, way: str
) -> None:
    console.back_up(source, fallback="accept-live")
    vm.run(f"head -c {_LARGE_MB}M /dev/urandom >{source}/large; sync", timeout_s=120)
    console.events.clear()
    worker = Worker(console, source, fallback="accept-live")
    worker.start()
    worker.wait_until_read(10_000_000)
    go_down: dict[str, Callable[[], object]] = {"reboot": vm.reboot, "power cut": vm.power_cut}
    go_down[way]()
    worker.join(60)
    assert not worker.is_alive()
    assert isinstance(worker.error, ConnectionLost) and worker.error.retryable
    assert console.count_restore_points() == 1
    if way == "power cut":
        vm.boot()
    vm.run(f"head -c 1M {source}/large >{source}/small; rm {source}/large")
    console.back_up(source, fallback="accept-live")
    assert console.count_restore_points() == 2
    wait_until_clean(vm, console.id, timeout_s=60)
    console.check_repository()


@pytest.mark.full
def test_a_clock_ten_years_ahead_changes_nothing_but_is_told(vm: Vm, console: Console, source: str) -> None:
    vm.set_clock(years=10)
    try:
        console.probe()
        console.back_up(source, fallback="accept-live")
        wait_until_clean(vm, console.id, timeout_s=60)
    finally:
        vm.set_clock(years=-10)
    (clock,) = [event for event in console.events if isinstance(event, Checked) and event.name == "clock"]
    assert clock.state is CheckState.WARNING
    assert "ahead of the console's" in clock.text
    assert console.count_restore_points() == 1
