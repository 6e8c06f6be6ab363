"""What must hold when a backup is cut off: a clean device, old restore points, and data that is sent once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.errors import (
    AgentError,
    Cancelled,
    ConnectFailed,
    HostKeyChanged,
    LeaseLost,
    RepositoryFull,
    ToolMissing,
)
from agents.events import Moved
from agents.restic.binary import Binary, find_binary
from tests.live.flows import Console, assert_device_is_clean, picture_of, wait_until_clean
from tests.live.ground import Device, command
from tests.live.workers import Worker

# The device notices a silent console after 20 s, then ends what runs; 60 s is the promise, which
# test_site_faults.py holds a whole console to. Here it is less patient, so that nobody waits.
CLEAN_WITHIN_S = 60
SILENCE_S = 8


@pytest.fixture
def console(device: Device, tmp_path: Path) -> Console:
    console = Console(device, tmp_path)
    (device.btrfs / "data").mkdir()
    (device.btrfs / "data" / "first").write_text("the first restore point")
    return console


@pytest.fixture
def source(console: Console) -> Path:
    return console.device.btrfs / "data"


@pytest.fixture
def worker(console: Console, source: Path) -> Iterator[Worker]:
    console.back_up(source)
    (source / "large").write_bytes(os.urandom(256_000_000))
    os.sync()
    worker = Worker(console, source, more={"silence_s": SILENCE_S})
    yield worker
    worker.close()


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["kill", pytest.param("stop", marks=pytest.mark.full), "cut"])
def test_a_cut_off_backup_leaves_a_clean_device_and_sends_its_data_once(
    console: Console, source: Path, worker: Worker, fault: str
) -> None:
    worker.wait_until_stored(100_000_000)
    if fault == "kill":
        worker.process.kill()
    elif fault == "stop":
        worker.process.send_signal(signal.SIGSTOP)
    else:
        console.device.cut()
    wait_until_clean(console, timeout_s=CLEAN_WITHIN_S, is_connected=fault != "kill")
    worker.close()
    console.device.heal()
    sent_before = console.repository_bytes()
    assert console.count_restore_points() == 1
    (point,) = console.back_up(source).points
    sent_again = console.repository_bytes() - sent_before
    assert sent_before + sent_again < 256_000_000 * 1.2
    assert console.count_restore_points() == 2
    console.check_repository()
    target = Path("/var/lib") / f"restored-{console.id}"
    try:
        console.restore(point.restic_id, source, target)
        assert picture_of(target) == picture_of(source)
    finally:
        command("rm", "-rf", target)


@pytest.mark.parametrize("phase", ["connect", "check", "snapshot", "transfer", "verify", "clean-up"])
def test_a_worker_killed_in_any_phase_leaves_a_clean_device(
    console: Console, source: Path, phase: str
) -> None:
    console.back_up(source)
    worker = Worker(console, source)
    try:
        worker.wait_for(f"phase {phase}")
        worker.process.kill()
        wait_until_clean(console, timeout_s=CLEAN_WITHIN_S)
    finally:
        worker.close()
    console.back_up(source)
    assert_device_is_clean(console)
    console.check_repository()


class Stopping:
    """A control that stops the run once data flows."""

    def __init__(self, console: Console, error: AgentError) -> None:
        self._console = console
        self._error = error

    def raise_if_stopped(self) -> None:
        if self._is_time():
            raise self._error

    def is_current(self) -> bool:
        return not (isinstance(self._error, LeaseLost) and self._is_time())

    def _is_time(self) -> bool:
        return any(isinstance(event, Moved) and event.stored_bytes > 0 for event in self._console.events)


@pytest.mark.parametrize(
    "error", [Cancelled("A person cancelled the run."), LeaseLost("Another worker has it.")]
)
def test_a_stopped_backup_cleans_up_at_once(console: Console, source: Path, error: AgentError) -> None:
    (source / "large").write_bytes(os.urandom(256_000_000))
    with pytest.raises(type(error)):
        console.back_up(source, control=Stopping(console, error))
    wait_until_clean(console)
    assert console.count_restore_points() == 0


def test_a_full_repository_ends_the_run_cleanly(device: Device, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    command("mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", small)
    try:
        console = Console(device, small)
        source = device.btrfs / "data"
        source.mkdir()
        (source / "file").write_text("small")
        console.back_up(source)
        (source / "large").write_bytes(os.urandom(40_000_000))
        with pytest.raises(RepositoryFull) as full:
            console.back_up(source)
        assert full.value.remedy
        assert_device_is_clean(console)
        assert console.count_restore_points() == 1
        (source / "large").unlink()
        command("mount", "-o", "remount,size=200m", small)
        console.back_up(source)
        console.check_repository()
    finally:
        command("umount", small)


def test_a_changed_host_key_stops_the_run_before_anything_is_sent(console: Console, source: Path) -> None:
    pinned = console.device.host_keys[:1]
    console.device.swap_host_key()
    console.pinned = pinned
    with pytest.raises(HostKeyChanged):
        console.back_up(source)
    assert "Accepted publickey" not in console.device.sshd_log
    assert console.count_restore_points() == 0


def test_an_unreachable_device_fails_and_can_be_retried(console: Console, source: Path) -> None:
    console.device.stop_sshd()
    with pytest.raises(ConnectFailed) as failure:
        console.back_up(source)
    assert failure.value.retryable
    console.device.start_sshd()
    console.back_up(source)


def test_our_restic_is_sent_to_a_device_that_has_none_and_checked(
    console: Console, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One of its own: other tests run the one that is there while this one takes it away.
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "restic").write_bytes(console.binary.path.read_bytes() + b"\0")
    (tmp_path / "bin" / "restic").chmod(0o755)
    console.binary = find_binary([tmp_path / "bin"])
    shipped = Path(console.binary.device_path)
    _hide_own_restic(monkeypatch)
    try:
        console.back_up(source)
        assert shipped.read_bytes() == console.binary.path.read_bytes()
        shipped.write_bytes(b"#!/bin/sh\necho restic 9.9.9\n")  # somebody on the device changed it
        console.back_up(source)
        assert shipped.read_bytes() == console.binary.path.read_bytes()
    finally:
        command("rm", "-rf", shipped.parent)


def test_a_device_of_another_machine_says_what_to_install(
    console: Console, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _hide_own_restic(monkeypatch)
    binary = console.binary
    console.binary = Binary(binary.path, binary.version, binary.sha256, "aarch64")
    with pytest.raises(ToolMissing) as missing:
        console.back_up(source)
    assert "Install restic" in missing.value.remedy
    assert_device_is_clean(console)


def _hide_own_restic(monkeypatch: pytest.MonkeyPatch) -> None:
    """The devices of the test ground share our file system: whatever restic they have is not counted."""
    monkeypatch.setattr("agents.placing.needs_shipping", lambda version: True)
