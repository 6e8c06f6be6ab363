"""`manage.py serve` as a person uses it: the whole console, started and stopped as real processes."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.backupsite.serve.processes import is_running, list_children, list_descendants, wait_until

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.slow
# Longer than all that `serve` allows its programs together.
STOPS_WITHIN_S = 180


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Console:
    """One start of the console at a home."""

    def __init__(self, home: Path, port: int, stdout: int | None = None, *, by_nohup: bool = False) -> None:
        self.home, self.port = home, port
        self._log = home.parent / f"output-{os.urandom(4).hex()}"
        self._environment = {
            name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")
        } | {
            "DJANGO_SETTINGS_MODULE": "backupsite.settings",
            "HOTFLEET_HOME": str(home),
            "HOTFLEET_PORT": str(port),
            "HOTFLEET_INTERACTIVE_WORKERS": "1",
            "HOTFLEET_BULK_WORKERS": "1",
        }
        # Who runs these tests may have signals ignored (nohup, a background job): that is inherited.
        signals = ["--default-signal=INT", f"--{'ignore' if by_nohup else 'default'}-signal=HUP"]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                ["env", *signals, sys.executable, "manage.py", "serve"],
                cwd=ROOT, env=self._environment, stdout=stdout or log, stderr=log, start_new_session=True,
            )  # fmt: skip

    @property
    def output(self) -> str:
        return self._log.read_text()

    def wait_until_ready(self) -> str:
        """Return the address that it printed."""
        wait_until(
            lambda: "Ready. Open" in self.output or self.process.poll() is not None,
            180,
            "a start of the console",
        )
        found = re.search(r"Ready. Open (\S+)", self.output)
        assert found, self.output
        return found[1]

    def ask(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    def create_person(self, name: str) -> None:
        code = (
            "from backupsite.accounts.models import User;"
            f"User.objects.create_user({name!r}, 'x', is_superuser=True)"
        )
        command = [sys.executable, "manage.py", "shell", "--no-imports", "-c", code]
        subprocess.run(command, cwd=ROOT, env=self._environment, check=True)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(STOPS_WITHIN_S)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    # A blank and a quote: the home's name ends up in Valkey's configuration and in an address.
    path = tmp_path / "it's home"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def start(home: Path) -> Iterator[Callable[..., Console]]:
    consoles: list[Console] = []
    port = find_free_port()

    def start_console(stdout: int | None = None, *, by_nohup: bool = False) -> Console:
        consoles.append(Console(home, port, stdout, by_nohup=by_nohup))
        return consoles[-1]

    yield start_console
    for console in consoles:
        if console.process.poll() is None:
            console.stop()


def lose_terminal(console: Console) -> None:
    """Read until the console is ready, and never again."""
    assert console.process.stdout is not None
    for line in console.process.stdout:
        if b"Ready. Open" in line:
            break
    console.process.stdout.close()


def read_people(home: Path) -> list[str]:
    with sqlite3.connect(home / "hotfleet.sqlite3") as database:
        return [name for (name,) in database.execute("SELECT name FROM accounts_user")]


def test_it_starts_everything_and_stops_everything(start: Callable[..., Console], home: Path) -> None:
    console = start()
    address = console.wait_until_ready()
    assert address.startswith(f"http://127.0.0.1:{console.port}/setup/?code=")
    assert console.ask("/healthz") == (200, "ok\n")
    assert home.stat().st_mode & 0o777 == 0o700
    assert address.partition("code=")[2] not in (home / "setup-code").read_text()
    everything = list_descendants(console.process.pid)
    assert len(everything) >= 8  # Valkey, web, tick, streams, two pools with a worker each
    # A second thread in the process that forks could leave a lock held in every child.
    assert len(os.listdir(f"/proc/{console.process.pid}/task")) == 1
    assert console.stop() == 0, console.output
    assert not any(map(is_running, everything))
    assert console.output.endswith("Stopped.\n")


def test_the_live_socket_takes_pages_of_this_console_only(start: Callable[..., Console]) -> None:
    console = start()
    console.wait_until_ready()
    address = f"ws://127.0.0.1:{console.port}/ws/live/?topic=fleet"
    for origin in ("http://evil.example", f"http://127.0.0.1:{console.port + 1}", None):
        with pytest.raises(InvalidStatus) as refused:
            connect(address, origin=origin)
        assert refused.value.response.status_code == 403
    with (
        connect(address, origin=f"http://127.0.0.1:{console.port}") as socket,
        pytest.raises(ConnectionClosed) as end,
    ):
        socket.recv(10)
    # Let in, and sent away because nobody is signed in.
    assert end.value.rcvd is not None and end.value.rcvd.code == 4401


def test_it_stops_in_order_when_its_terminal_is_gone(start: Callable[..., Console]) -> None:
    console = start(stdout=subprocess.PIPE)
    lose_terminal(console)
    everything = list_descendants(console.process.pid)
    console.process.send_signal(signal.SIGHUP)
    console.process.wait(STOPS_WITHIN_S)
    assert not any(map(is_running, everything))
    assert not (console.home / "run" / "valkey.sock").exists()  # removed by Valkey's own, ordered end


def test_one_started_by_nohup_outlives_its_terminal_and_keeps_its_programs(
    start: Callable[..., Console],
) -> None:
    console = start(stdout=subprocess.PIPE, by_nohup=True)
    lose_terminal(console)
    console.process.send_signal(signal.SIGHUP)
    before = list_children(console.process.pid)
    os.kill(min(before), signal.SIGKILL)
    wait_until(
        lambda: console.process.poll() is not None or len(list_children(console.process.pid) - before) == 1,
        60,
        "another process of the program that was killed",
    )
    assert console.process.poll() is None, console.output
    everything = list_descendants(console.process.pid)
    assert console.stop() == 0, console.output
    assert not any(map(is_running, everything))


def test_a_second_copy_at_the_same_home_is_refused_with_a_clear_text(start: Callable[..., Console]) -> None:
    first = start()
    first.wait_until_ready()
    second = start()
    assert second.process.wait(60) == 1
    assert f"process {first.process.pid}, http://127.0.0.1:{first.port}/" in second.output
    assert "Traceback" not in second.output
    assert first.ask("/healthz")[0] == 200


def test_after_kill_9_nothing_is_left_and_the_next_start_has_the_same_data(
    start: Callable[..., Console], home: Path
) -> None:
    first = start()
    first.wait_until_ready()
    everything = list_descendants(first.process.pid)
    first.create_person("ada")
    before = (home / "secret-key").read_text(), (home / "keys" / "workers").read_text()
    first.process.kill()
    first.process.wait()
    wait_until(lambda: not any(map(is_running, everything)), 60, "all children gone")
    second = start()
    # There is an administrator now: no set-up code any more.
    assert second.wait_until_ready() == f"http://127.0.0.1:{second.port}/login/"
    assert not (home / "setup-code").exists()
    assert read_people(home) == ["ada"]
    assert before == ((home / "secret-key").read_text(), (home / "keys" / "workers").read_text())


def test_a_busy_port_is_told_in_a_sentence(home: Path) -> None:
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        console = Console(home, squatter.getsockname()[1])
        assert console.process.wait(60) == 1
    assert "cannot be used: Address already in use" in console.output
    assert "Traceback" not in console.output


def test_a_home_that_others_may_read_is_refused(start: Callable[..., Console], home: Path) -> None:
    home.chmod(0o755)
    console = start()
    assert console.process.wait(60) == 1
    assert "chmod 700" in console.output


def test_a_path_too_long_for_a_socket_is_no_obstacle(tmp_path: Path) -> None:
    home = tmp_path / ("long" * 30)
    home.mkdir(mode=0o700)
    console = Console(home, find_free_port())
    try:
        console.wait_until_ready()
        assert console.ask("/healthz")[0] == 200
    finally:
        assert console.stop() == 0
