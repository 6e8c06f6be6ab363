"""Redis under writers: each backup is started and its numbers are compared; and what must go wrong."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.pool import ThreadPool
from pathlib import Path

import pytest

from agents import served
from agents.applications import redis as plugin
from agents.applications import work
from agents.backup import BackupOutcome
from agents.errors import AgentError, QuiesceFailed, ResticFailed
from agents.events import Consistency, Felt, Froze
from agents.plan import HotImpossible, SourceRequest
from tests.live.flows import Console, assert_device_is_clean
from tests.live.ground import Device, command, wait_until
from tests.live.redis_server import Server, find_faults, request_for, writers

ROUNDS = 50 if os.environ.get("HOTFLEET_CAMPAIGN") == "full" else 2


@pytest.fixture
def console(device: Device, tmp_path: Path) -> Console:
    return Console(device, tmp_path)


@pytest.fixture
def data(device: Device) -> Path:
    path = device.btrfs / "re dis"
    command("btrfs", "subvolume", "create", path)
    shutil.chown(path, "redis", "redis")
    return path


@pytest.fixture
def server(data: Path) -> Iterator[Server]:
    """A server with an append-only file that is rewritten all the time."""
    often = ("--auto-aof-rewrite-percentage", "10", "--auto-aof-rewrite-min-size", "32kb")
    with Server(data, "--appendonly", "yes", *often) as server:
        yield server


@contextmanager
def restored(console: Console, outcome: BackupOutcome, name: str) -> Iterator[Path]:
    """The folder in which the file or folder `name` was restored, for redis to work in."""
    target = Path("/var/lib") / f"hotfleet-restored-{console.id}"
    try:
        (point,) = outcome.points
        console.restore(point.restic_id, "/", target)
        target.chmod(0o755)
        folder = next(target.rglob(name)).parent
        subprocess.run(["chown", "-R", "redis:", folder], check=True)
        yield folder
    finally:
        subprocess.run(["rm", "-rf", str(target)], check=True)


def test_the_fork_of_a_stream_is_told(
    console: Console, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served, "LEAST_S", 0.0)
    monkeypatch.setattr(work, "LEAST_S", 0.5)
    with writers(server):
        time.sleep(1.5)
        console.back_up(request_for(server, "stream"))
    told = {event.name: event for event in console.events if isinstance(event, Felt) and event.subject}
    fork = told[work.FORK_MS]
    assert fork.mean is not None and fork.mean > 0 and fork.subject.startswith("Redis ")


@pytest.mark.parametrize(
    ("method", "stored", "file", "settings"),
    [
        ("snapshot", "snapshot+btrfs", "appendonlydir", ("--appendonly", "yes")),
        ("stream", "stream", "dump.rdb", ("--appendonly", "no")),
    ],
)
def test_each_backup_under_writers_restores_to_a_server_that_fits(
    console: Console, server: Server, method: str, stored: str, file: str, settings: tuple[str, ...]
) -> None:
    with writers(server) as busy:
        for _ in range(ROUNDS):
            least = {each.number: each.count for each in busy}
            outcome = console.back_up(request_for(server, method))
            (point,) = outcome.points
            assert (point.method, point.consistency) == (stored, Consistency.APPLICATION)
            assert server.percentage == "10"
            with restored(console, outcome, file) as folder, Server(folder, *settings) as again:
                assert find_faults(again, least) == []
    assert_device_is_clean(console)
    froze = [round(event.milliseconds) for event in console.events if isinstance(event, Froze)]
    fork_us = server.connect().info("stats")["latest_fork_usec"]
    longest_ms = max(each.longest_s for each in busy) * 1000
    print(f"\nRedis, {method}: held {froze} ms, fork {fork_us} us, longest answer {longest_ms:.0f} ms")


def quarrel(console: Console, request: SourceRequest) -> AgentError:
    """Return how a backup failed; nothing of it is kept, and nothing is left on the device."""
    with pytest.raises(AgentError) as caught:
        console.back_up(request)
    assert console.count_restore_points() == 0
    assert_device_is_clean(console)
    return caught.value


def test_a_stream_that_breaks_off_never_becomes_a_restore_point(console: Console, server: Server) -> None:
    database = server.connect()
    for number in range(3000):
        database.set(f"key:{number}", "x" * 1000)
    database.config_set("auto-aof-rewrite-percentage", 0)
    wait_until(lambda: children_of(server) == [], what="the end of a rewrite")
    database.config_set("rdb-key-save-delay", 2000)
    with ThreadPool(1) as pool:
        failing = pool.apply_async(quarrel, (console, request_for(server, "stream")))
        wait_until(lambda: children_of(server) != [], timeout_s=120, what="the child that sends")
        time.sleep(1)
        os.kill(children_of(server)[0], signal.SIGKILL)
        assert isinstance(failing.get(180), ResticFailed)


def children_of(server: Server) -> list[int]:
    listed = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text()
    return [int(word) for word in listed.split()]


@pytest.mark.parametrize("dies", ["the script", "nothing, but it takes too long"])
def test_rewrites_go_on_whatever_dies(
    console: Console, server: Server, monkeypatch: pytest.MonkeyPatch, dies: str
) -> None:
    monkeypatch.setattr(plugin, "_HOLD", f"{plugin._HOLD}\nsleep 6\n")
    request = SourceRequest(application="redis", instance=str(server.socket), longest_freeze_ms=4000)
    with writers(server), ThreadPool(1) as pool:
        failing = pool.apply_async(quarrel, (console, request))
        wait_until(lambda: server.percentage == "0", timeout_s=120, what="the hold")
        if dies == "the script":
            wait_until(lambda: find_script(console.device) > 0, what="the hold")
            os.kill(find_script(console.device), signal.SIGKILL)
        wait_until(lambda: server.percentage == "10", timeout_s=60, what="rewrites as before")
        assert isinstance(failing.get(180), AgentError)
        assert server.percentage == "10"


def find_script(device: Device) -> int:
    """The shell of the moment: the parent of the program that sleeps. 0 when none sleeps."""
    for pid in device.session_pids():
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\x006\0":
                return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def test_a_rewrite_that_somebody_asks_for_meanwhile_makes_the_snapshot_worthless(
    console: Console, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewrite = "ask bgrewriteaof >/dev/null; ask config set rdb-key-save-delay 0 >/dev/null"
    monkeypatch.setattr(plugin, "_HOLD", f"{plugin._HOLD}\n{rewrite}\n")
    database = server.connect()
    for number in range(3000):
        database.set(f"key:{number}", "x" * 100)
    wait_until(
        lambda: database.info("persistence")["aof_rewrite_in_progress"] == 0, what="the end of a rewrite"
    )
    database.config_set("rdb-key-save-delay", 1000)
    error = quarrel(console, request_for(server, "snapshot"))
    assert isinstance(error, QuiesceFailed) and "was not held" in error.message
    assert server.percentage == "10"


def test_a_server_that_wants_a_password_says_what_to_do(console: Console, data: Path) -> None:
    with Server(data, "--requirepass", "sesame") as locked:
        error = quarrel(console, request_for(locked))
    assert isinstance(error, HotImpossible)
    assert "NOAUTH" in error.message and "unix socket without one" in error.message


def test_files_copied_while_they_are_rewritten_are_torn(server: Server, tmp_path: Path) -> None:
    """The control: the list of files is copied first, then a rewrite makes others."""
    with writers(server) as busy:
        source = server.data / "appendonlydir"
        target = tmp_path / "data" / "appendonlydir"
        target.mkdir(parents=True)
        shutil.copy(next(source.glob("*.manifest")), target)
        # rewrites go on by themselves
        wait_until(lambda: is_other(source, target), timeout_s=120, what="a new list of files")
        for file in source.glob("*.aof"):
            shutil.copy(file, target)
        for file in source.glob("*.rdb"):
            shutil.copy(file, target)
    for folder in (*tmp_path.parents, tmp_path):
        folder.chmod(folder.stat().st_mode | 0o111)
    subprocess.run(["chown", "-R", "redis:", tmp_path / "data"], check=True)
    faults: list[str] = []
    try:
        with Server(tmp_path / "data", "--appendonly", "yes") as again:
            faults = find_faults(again, {each.number: each.count for each in busy})
    except AssertionError as error:
        faults = [str(error)]
    assert faults != []


def is_other(source: Path, target: Path) -> bool:
    (copied,) = target.glob("*.manifest")
    return (source / copied.name).read_bytes() != copied.read_bytes() and not any(
        (source / line.split()[1]).exists() for line in copied.read_text().splitlines()
    )
