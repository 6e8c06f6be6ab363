"""Whoever dies at whatever step of a drill: no process, no mount and no directory of it is left.

Every step that a drill asks of its machine is a boundary, and one more is while a server runs in the cage and
a query does not end. By default some boundaries are taken, HOTFLEET_CAMPAIGN=full takes all. Two minutes."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.applications.stored import Stored
from agents.applications.trials import Question
from agents.drilling.cage import user_of
from agents.errors import Cancelled
from agents.own_places import SCRATCH_PARENT
from tests.live import redis_server as redis
from tests.live.drills import IS_FULL, Prover, assert_refuted, full_only
from tests.live.flows import assert_device_is_clean
from tests.live.ground import Device, wait_until
from tests.live.traces import STATE_PLACES

# What a drill of a Redis stream asks from its first undo step on. When the flow changes, the first test says
# so.
STEPS = 21
ENDLESS = "blpop nobody 0"
CLEAN_WITHIN_S = 60


@pytest.fixture
def console(device: Device, tmp_path: Path) -> Prover:
    return Prover(device, tmp_path)


@pytest.fixture
def stored(console: Prover) -> Stored:
    home = console.device.btrfs / "redis"
    home.mkdir()
    with redis.Server(make_redis(home)) as server:
        server.connect().set("one", "1")
        server.connect().save()
    return console.store_stream(home / "dump.rdb", "redis", "stream")


def make_redis(home: Path) -> Path:
    subprocess.run(["chown", "redis:redis", str(home)], check=True)
    home.parent.chmod(0o755)
    home.parent.parent.chmod(0o755)
    return home


class Child:
    """The drill in a process of its own."""

    def __init__(self, console: Prover, stored: Stored, question: str) -> None:
        self.run_id = secrets.token_hex(16)
        (part,) = stored.parts
        order = {
            "console": console.id,
            "run": self.run_id,
            "repository": str(console.place.path),
            "journals": str(console.place.journals),
            "password": console.password.reveal(),
            "binary": str(console.binary.path),
            "restic_id": part.restic_id,
            "part": part.part,
            "paths": part.paths,
            "question": question,
        }
        environment = {**os.environ, "TMPDIR": str(console.place.path.parent)}
        words, pipe = [sys.executable, "-m", "tests.live.drill_child"], subprocess.PIPE
        self.process = subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True, env=environment)
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.send(json.dumps(order) + "\n")

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.strip())

    def send(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    @property
    def steps(self) -> int:
        return sum(line.startswith("step ") for line in list(self.lines))

    def go_to(self, step: int) -> None:
        for number in range(1, step + 1):
            wait_until(lambda: self.steps >= number, timeout_s=60, what=f"step {number}")  # noqa: B023
            if number < step:
                self.send("\n")

    def wait_for(self, line: str) -> None:
        wait_until(lambda: line in self.lines or self.process.poll() is not None, timeout_s=90, what=line)
        assert line in self.lines, self.lines

    @property
    def prisoners(self) -> dict[str, int]:
        """The processes of the throw-away user, by their names."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if entry.stat().st_uid == user_of(self.run_id):
                    found[(entry / "comm").read_text().strip()] = int(entry.name)
            except OSError:
                continue
        return found

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait()
        self._reader.join()


@pytest.fixture
def children() -> Iterator[list[Child]]:
    made: list[Child] = []
    yield made
    for child in made:
        child.close()


def assert_nothing_is_left(console: Prover, child: Child) -> None:
    wait_until(lambda: child.prisoners == {}, timeout_s=CLEAN_WITHIN_S, what="the end of the cage")
    names = [*STATE_PLACES, Path(SCRATCH_PARENT)]

    def is_clean() -> bool:
        return not [each for place in names if place.is_dir() for each in place.glob(f"*{child.run_id}*")]

    wait_until(is_clean, timeout_s=CLEAN_WITHIN_S, what="no directory of the run")
    assert_device_is_clean(console)


def test_without_a_death_it_passes(console: Prover, stored: Stored, children: list[Child]) -> None:
    children.append(child := Child(console, stored, "get one"))
    child.go_on()
    child.wait_for("done")
    assert child.steps == STEPS, child.lines
    assert_nothing_is_left(console, child)


@pytest.mark.parametrize("step", range(1, STEPS + 1) if IS_FULL else (6, STEPS - 1))
def test_a_worker_killed_before_any_step_leaves_nothing(
    console: Prover, stored: Stored, children: list[Child], step: int
) -> None:
    children.append(child := Child(console, stored, "get one"))
    child.go_to(step)
    child.process.kill()
    assert_nothing_is_left(console, child)


@pytest.mark.parametrize(
    "victim",
    [
        "silent worker",
        "runner",
        "unshare",
        pytest.param("worker", marks=full_only),
        pytest.param("redis-server", marks=full_only),
    ],
)
def test_whoever_dies_while_the_server_runs_nothing_is_left(
    console: Prover, stored: Stored, children: list[Child], victim: str
) -> None:
    children.append(child := Child(console, stored, ENDLESS))
    child.go_on()
    child.wait_for("check keys")
    wait_until(lambda: {"redis-server", "redis-cli"} <= set(child.prisoners), what="the endless query")
    if victim == "worker":
        child.process.kill()
    elif victim == "silent worker":
        child.process.send_signal(signal.SIGSTOP)
    elif victim == "redis-server":
        os.kill(child.prisoners["redis-server"], signal.SIGKILL)
        child.wait_for("done")
    elif victim == "runner":
        (record,) = (each for place in STATE_PLACES for each in place.glob(f"*{child.run_id}/runner"))
        os.kill(int(record.read_text().split()[0]), signal.SIGKILL)
    else:
        os.kill(find_unshare(child), signal.SIGKILL)
    assert_nothing_is_left(console, child)


def find_unshare(child: Child) -> int:
    """Return what holds the cage: above the first process of its own."""
    pid = child.prisoners["redis-cli"]
    while Path(f"/proc/{pid}/comm").read_text().strip() != "unshare":
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return pid


class CancelSoon:
    """A person asks to stop once somebody is in the cage."""

    def __init__(self, console: Prover) -> None:
        self._console = console
        self._until = 0.0

    def raise_if_stopped(self) -> None:
        if any(getattr(event, "name", "") == "keys" for event in self._console.events):
            self._until = self._until or time.monotonic() + 1
            if time.monotonic() > self._until:
                raise Cancelled("enough")

    def is_current(self) -> bool:
        return True


def test_a_cancelled_drill_ends_at_once_and_leaves_nothing(console: Prover, stored: Stored) -> None:
    with pytest.raises(Cancelled):
        console.drill(stored, Question(ENDLESS, "=", ""), sample=0, control=CancelSoon(console))
    assert_device_is_clean(console)


def test_a_query_without_an_end_fails_in_its_time(
    console: Prover, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.applications.trials.DAY_S", 3)
    evidence = console.drill(stored, Question(ENDLESS, "=", ""), sample=0)
    assert "did not end within 3 s" in assert_refuted(evidence, "question 1")
    assert_device_is_clean(console)
