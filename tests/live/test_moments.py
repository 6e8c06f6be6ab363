"""A moment on a real runner: hold, snapshot and let go in one script, undone by the device when anything
dies.

The application is a writer that cannot write while somebody holds the lock on its file: held means that it
waits, let go means that it writes again."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agents.applications import Quiesce
from agents.applications.services import watch_standing
from agents.commands import Command, quote
from agents.errors import (
    Cancelled,
    CommandFailed,
    ConnectionLost,
    DeviceHealed,
    FreezeTooLong,
    ProtocolBroken,
    QuiesceFailed,
    ServiceDown,
)
from agents.events import Consistency, Event, Froze, Said
from agents.facts import DeviceFacts, read_facts
from agents.hearing import MOST_BYTES
from agents.moments import stopped, take_moment
from agents.plan import Moment, Part, PlannedSource, SourceRequest
from agents.runner import Runner
from agents.snapshots import providers
from agents.snapshots.contract import Taken
from tests.live.ground import Device, wait_until
from tests.live.shells import SHELLS, ShellSession

pytestmark = pytest.mark.one_shell

CONSOLE = f"m{os.getpid()}"
_WRITER = """
import fcntl, sys
with open(sys.argv[1], "a") as lock:
    number = 0
    while True:
        fcntl.flock(lock, fcntl.LOCK_EX)
        number += 1
        with open(sys.argv[2], "w") as out:
            out.write(str(number))
        fcntl.flock(lock, fcntl.LOCK_UN)
"""


class Writer:
    """Writes as fast as it can, and waits while the lock is held."""

    def __init__(self, folder: Path) -> None:
        self.lock, self.out = folder / "lock", folder / "out"
        words = [sys.executable, "-c", _WRITER, str(self.lock), str(self.out)]
        self.process = subprocess.Popen(words)
        wait_until(self.out.exists, what="the first write")

    def writes(self, within_s: float = 60) -> bool:
        """Whether it still gets on."""
        before = self.out.read_text()
        end = time.monotonic() + within_s
        while time.monotonic() < end:
            if self.out.read_text() not in ("", before):
                return True
            time.sleep(0.02)
        return False

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


@dataclass
class Place:
    """A runner on this machine, a btrfs with a writer on it, and what was told."""

    runner: Runner
    facts: DeviceFacts
    writer: Writer
    folder: Path
    told: list[Event]

    def quiesce(self, *, before: str = "", after: str = "", release: str = "", undo: str = "") -> Quiesce:
        lock = quote(str(self.writer.lock))
        # The holder closes what it does not need, as every hold must: a lock lives as long as its descriptor.
        hold = f'exec 7>>{lock} || return 1\nflock -w 5 7 || return 1\n: >"$hold/held"\n'
        return Quiesce(
            label="the writer",
            hold=f"{before}\n{hold}\necho note held by a lock\n{after}",
            release=release or "exec 7>&-",
            undo=undo or ': >"$hold/undone"',
        )

    def take(self, *quiesces: Quiesce, limit_ms: float = 10_000.0, freeze_ms: int = 10_000) -> list[Taken]:
        units = providers()["btrfs"].units(str(self.folder), self.facts)
        part = Part(str(self.folder), "btrfs", Consistency.CRASH, "because", units)
        sources = tuple(
            PlannedSource(
                SourceRequest(str(self.folder), longest_freeze_ms=freeze_ms),
                "btrfs",
                Consistency.CRASH,
                (str(self.folder),),
                (part,),
                quiesce=quiesce,
            )
            for quiesce in quiesces
        )
        return take_moment(self.runner, Moment(sources), 0, self.facts, limit_ms, self.told.append)

    @property
    def snapshots(self) -> list[Path]:
        return list(self.folder.glob(".hotfleet-*"))


@pytest.fixture(params=SHELLS)
def place(request: pytest.FixtureRequest, device: Device) -> Iterator[Place]:
    folder = device.btrfs
    writer = Writer(folder)
    runner = Runner(
        ShellSession(str(request.param)),
        console_id=CONSOLE,
        run_id=f"r{time.monotonic_ns():x}",
        tell=lambda event: None,
        silence_s=10,
        heartbeat_s=0.5,
    )
    try:
        yield Place(runner, read_facts(runner, [str(folder)]), writer, folder, [])
    finally:
        try:
            with contextlib.suppress(ConnectionLost, DeviceHealed):  # where the run was over before
                runner.close()
        finally:
            writer.close()


def test_a_snapshot_is_taken_while_the_application_is_held(place: Place) -> None:
    (taken,) = place.take(place.quiesce(after=f'cp {quote(str(place.writer.out))} "$hold/seen"'))
    (bind,) = taken.binds
    seen = Path(place.runner.directory, "hold-0-0", "seen").read_text()
    assert seen and Path(bind.snapshot_path, "out").read_text() == seen
    assert place.writer.writes()
    (froze,) = [event for event in place.told if isinstance(event, Froze)]
    assert [step.name for step in froze.steps] == ["hold the writer", "btrfs snapshot", "release the writer"]
    assert froze.milliseconds >= sum(step.milliseconds for step in froze.steps) > 0
    assert "held by a lock" in [event.text for event in place.told if isinstance(event, Said)]
    providers()["btrfs"].drop(place.runner, taken)
    assert not place.snapshots


def test_a_hold_that_fails_leaves_the_application_alone_and_takes_nothing(place: Place) -> None:
    with pytest.raises(QuiesceFailed, match="could not be held still"):
        place.take(place.quiesce(after="return 1"))
    assert place.writer.writes()
    assert not any(directory.glob("*") for directory in place.snapshots if any(directory.iterdir()))


def test_what_takes_too_long_is_let_go_by_the_device(place: Place) -> None:
    """The script sleeps while it holds: the undo, forced by the device, ends the sleeper that has the
    lock."""
    after = 'sleep 60 & echo $! >"$hold/sleeper"; wait $!'
    undo = '[ ! -f "$hold/sleeper" ] || { read -r pid <"$hold/sleeper"; kill "$pid" 2>/dev/null || :; }'
    with pytest.raises(FreezeTooLong):
        place.take(place.quiesce(after=after, undo=undo), limit_ms=1500)
    assert place.writer.writes()
    place.runner.close()
    assert not place.snapshots


def test_past_the_limit_the_run_fails_with_that_reason(place: Place) -> None:
    with pytest.raises(FreezeTooLong, match="the policy allows 50 ms"):
        place.take(place.quiesce(after="sleep 0.3"), limit_ms=50)
    assert [event for event in place.told if isinstance(event, Froze)]
    assert place.writer.writes()
    place.runner.close()
    assert not place.snapshots


def test_what_does_not_let_go_is_let_go_by_its_undo(place: Place) -> None:
    (taken,) = place.take(place.quiesce(release="exec 7>&-\nreturn 1"))
    assert any("only at the second try" in event.text for event in place.told if isinstance(event, Said))
    assert taken.binds and place.writer.writes()


def stop(place: Place, undo: str) -> Quiesce:
    """The writer as a service: SIGSTOP stands for its stop, which leaves no doubt about who started it
    again."""
    hold = f"kill -STOP {place.writer.process.pid}"
    return Quiesce("writer.service", hold, undo, undo, is_stop=True)


def test_a_service_that_does_not_come_back_is_its_own_error(place: Place) -> None:
    allowed = place.folder / "may-start"
    start = f"[ -e {quote(str(allowed))} ] && kill -CONT {place.writer.process.pid}"
    with pytest.raises(ServiceDown, match="does not run again"):
        place.take(stop(place, start))
    assert not place.writer.writes(2)
    allowed.touch()
    place.runner.close()
    assert place.writer.writes()


def test_a_downtime_may_span_more_than_a_snapshot(place: Place) -> None:
    start = f"kill -CONT {place.writer.process.pid}"
    with stopped(place.runner, [stop(place, start)], 0, 60_000, place.told.append):
        assert not place.writer.writes(2)
    assert place.writer.writes()
    (froze,) = [event for event in place.told if isinstance(event, Froze)]
    assert froze.is_stop and froze.milliseconds >= 2000  # as long as `writes` looked


def test_what_stands_anyway_is_watched_without_a_limit(place: Place, tmp_path: Path) -> None:
    """Nothing of it is stopped: no downtime is told, and none is too long."""
    server = tmp_path / "postgres"
    shutil.copy(shutil.which("sleep") or "", server)
    watch = watch_standing("PG", "", (), (str(place.folder),))
    with stopped(place.runner, [watch], 0, 1, place.told.append):
        time.sleep(3)  # the device would force an undo by now
    assert not [event for event in place.told if isinstance(event, Froze)]
    with (
        pytest.raises(QuiesceFailed, match="PG did not stand still until the end"),
        stopped(place.runner, [watch], 1, 60_000, place.told.append),
    ):
        process = subprocess.Popen([server, "60"], cwd=place.folder)
    try:
        with pytest.raises(QuiesceFailed, match="PG does not stand still"):
            place.take(watch)
    finally:
        process.kill()
        process.wait()


def test_a_failed_copy_starts_the_service_at_once(place: Place) -> None:
    start = f"kill -CONT {place.writer.process.pid}"
    with (
        pytest.raises(QuiesceFailed, match="the copy failed"),
        stopped(place.runner, [stop(place, start)], 0, 60_000, place.told.append),
    ):
        raise QuiesceFailed("the copy failed")
    assert place.writer.writes()


def test_a_downtime_that_is_too_long_is_ended_by_the_device(place: Place) -> None:
    start = f"kill -CONT {place.writer.process.pid}"
    with (
        pytest.raises(FreezeTooLong),
        stopped(place.runner, [stop(place, start)], 0, 1000, place.told.append),
    ):
        wait_until(place.writer.writes, what="the device starting the service", timeout_s=60)


def test_a_silent_console_leaves_nothing_held(place: Place) -> None:
    start = f"kill -CONT {place.writer.process.pid}"
    place.runner.owe("hold-0", Command.of("/bin/sh", "-c", start))
    place.runner.run(Command.of("kill", "-STOP", str(place.writer.process.pid)))
    place.runner._ended.set()  # heartbeats end: a console that hangs
    wait_until(place.writer.writes, what="the reaper", timeout_s=60)


def test_a_service_that_is_down_is_told_although_something_else_failed_before(place: Place) -> None:
    """What is let go first fails too, and neither its error nor its failure hides the service."""
    allowed = place.folder / "may-start"
    start = f"[ -e {quote(str(allowed))} ] && kill -CONT {place.writer.process.pid}"
    may = f"[ -e {quote(str(allowed))} ]"
    with pytest.raises(ServiceDown, match=r"writer\.service does not run again"):
        place.take(stop(place, start), Quiesce("another", ":", may, may))
    assert any("another could not be let go" in each.text for each in place.told if isinstance(each, Said))
    allowed.touch()
    place.runner.close()
    assert place.writer.writes()


def test_one_that_fails_does_not_keep_a_service_stopped(place: Place) -> None:
    start = f"kill -CONT {place.writer.process.pid}"
    never = Quiesce("another", ":", "false", f"[ -e {quote(str(place.folder / 'may'))} ]")
    service = Quiesce("writer.service", stop(place, "").hold, "false", start, is_stop=True)
    with pytest.raises(QuiesceFailed, match="another could not be let go"):
        place.take(service, never)
    assert place.writer.writes()  # before the run is closed
    (place.folder / "may").touch()


_NOISE = "head -c 30000000 /dev/zero | tr '\\0' x"


def test_a_hold_that_prints_very_much_is_not_heard_and_not_ended(place: Place) -> None:
    """The answer waits in the device's memory: it stays small, and what follows is taken all the same."""
    (taken,) = place.take(place.quiesce(after=f"{_NOISE} >&2"))
    providers()["btrfs"].drop(place.runner, taken)
    assert Path(place.runner.directory, "err").stat().st_size <= MOST_BYTES
    assert not Path(place.runner.directory, "moment.ended").exists()


def test_a_hold_whose_noise_hides_what_it_did_is_no_snapshot(place: Place) -> None:
    with pytest.raises(QuiesceFailed, match="cut off"):
        place.take(place.quiesce(before=_NOISE))
    assert place.writer.writes()


def test_nonsense_of_the_script_starts_the_service_at_once(place: Place) -> None:
    start = f"kill -CONT {place.writer.process.pid}"
    lying = Quiesce("w", f"{stop(place, '').hold}\necho step hold 7 0 1 1", "false", start, is_stop=True)
    with pytest.raises(ProtocolBroken):
        place.take(lying)
    assert place.writer.writes()


def test_nothing_is_held_once_the_device_gave_up_waiting(place: Place) -> None:
    """The undo of the second one is forced while the first is being held: nobody owes it any more."""
    held = place.folder / "held"
    second = Quiesce("second", f": >{quote(str(held))}", ":", ":")
    with pytest.raises(FreezeTooLong):
        place.take(Quiesce("first", "sleep 5", ":", ":"), second, limit_ms=1000)
    assert not held.exists()
    assert not any(directory.glob("*") for directory in place.snapshots if any(directory.iterdir()))


def test_a_freeze_beside_a_downtime_keeps_its_own_limit(place: Place) -> None:
    start = f"kill -CONT {place.writer.process.pid}"
    frozen = Quiesce("frozen", "sleep 0.3", ":", ":")
    with pytest.raises(FreezeTooLong, match="frozen: held for"):
        place.take(stop(place, start), frozen, limit_ms=60_000, freeze_ms=50)
    assert place.writer.writes()


def test_a_freeze_that_the_device_ended_does_not_hide_a_service_that_is_down(place: Place) -> None:
    allowed = place.folder / "may-start"
    start = f"[ -e {quote(str(allowed))} ] && kill -CONT {place.writer.process.pid}"
    with pytest.raises(ServiceDown, match=r"writer\.service does not run again"):
        place.take(stop(place, start), Quiesce("frozen", "sleep 5", ":", ":"), limit_ms=1000)
    assert any("the device let it go by itself" in each.text for each in place.told if isinstance(each, Said))
    allowed.touch()
    place.runner.close()
    assert place.writer.writes()


def test_what_was_not_held_was_let_go_at_the_first_try(place: Place) -> None:
    with pytest.raises(QuiesceFailed, match="was not held until the end"):
        place.take(place.quiesce(release="exec 7>&-\nreturn 3"))
    assert not any("second try" in each.text for each in place.told if isinstance(each, Said))


def test_who_moved_meanwhile_is_not_told_as_down(place: Place) -> None:
    """The undo says by its status that the service was started before: it runs all the same."""
    start = f'kill -CONT {place.writer.process.pid}; [ -e "$hold/told" ] || {{ : >"$hold/told"; (exit 3); }}'
    with (
        pytest.raises(Cancelled),
        stopped(place.runner, [stop(place, start)], 0, 60_000, place.told.append),
    ):
        raise Cancelled("somebody pressed the button")
    assert place.writer.writes()


@pytest.mark.parametrize("status", [66, 75])
def test_an_undo_that_fails_is_told_as_such_whatever_its_status(place: Place, status: int) -> None:
    """These statuses are the runner's own words for "not owed" and "was forced"."""
    allowed = place.folder / "may"
    undo = f"[ -e {quote(str(allowed))} ] || exit {status}"
    place.runner.owe("one", Command.of("/bin/sh", "-c", undo))
    with pytest.raises(CommandFailed):
        place.runner.settle("one")
    allowed.touch()
