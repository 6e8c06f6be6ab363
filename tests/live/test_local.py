"""The console's own machine as a device."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.commands import Command
from agents.local import LocalSession
from agents.session import Stream
from tests.live.ground import Device, wait_until

CLIENT = Path(__file__).with_name("tunnel_client.py")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def session(live_ground: None) -> Iterator[LocalSession]:
    session = LocalSession()
    yield session
    session.close()


def echo(stream: Stream) -> None:
    while data := stream.recv(65536):
        stream.sendall(data)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_nothing_of_the_consoles_environment_is_inherited(
    session: LocalSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOTFLEET_CANARY", "secret")
    other = LocalSession()
    assert "CANARY" not in other.run(Command.of("env"), timeout_s=60).text
    other.close()


def test_a_command_that_takes_too_long_is_killed_with_its_children(
    session: LocalSession, tmp_path: Path
) -> None:
    note = tmp_path / "pid"
    with pytest.raises(TimeoutError):
        session.run(Command.of("sh", "-c", f"sleep 60 & echo $! > {note}; wait"), timeout_s=5)
    wait_until(lambda: not is_running(int(note.read_text())), what="the end of the child")


def test_a_program_outlives_the_thread_that_started_it(session: LocalSession) -> None:
    started = []
    thread = threading.Thread(target=lambda: started.append(session.start(Command.of("cat"))))
    thread.start()
    thread.join()
    time.sleep(0.3)
    started[0].write(b"alive")
    assert started[0].read(timeout_s=60) == b"alive"
    started[0].close()


def test_a_killed_console_leaves_no_program_behind(live_ground: None) -> None:
    script = (
        "from agents.local import LocalSession; from agents.commands import Command; import time\n"
        "process = LocalSession().start(Command.of('sh', '-c', 'echo $$; exec sleep 600'))\n"
        "print(process.read(timeout_s=60).decode(), flush=True); time.sleep(600)"
    )
    console = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=ROOT)
    assert console.stdout is not None
    pid = int(console.stdout.readline())
    assert is_running(pid)
    console.kill()
    console.wait()
    console.stdout.close()
    wait_until(lambda: not is_running(pid), what="the end of the program")


def test_the_door_is_a_private_socket_and_gone_afterwards(session: LocalSession) -> None:
    with session.open_door(echo) as door:
        path = Path(door.repository_url.removeprefix("rest:http+unix://").removesuffix(":/"))
        assert path.is_socket()
        assert path.parent.stat().st_mode & 0o777 == 0o700
        words = (sys.executable, str(CLIENT), str(path), "4", str(8 * 1024 * 1024))
        assert session.run(Command.of(*words), timeout_s=60).text.split() == ["same"] * 4
    assert not path.parent.exists()


def test_many_runs_leave_nothing_behind(session: LocalSession) -> None:
    session.run(Command.of("true"), timeout_s=60)
    before = (threading.active_count(), len(os.listdir("/proc/self/fd")))
    for number in range(300):
        assert session.run(Command.of("echo", str(number)), timeout_s=60).text == f"{number}\n"
    wait_until(lambda: threading.active_count() <= before[0], what="the end of the threads")
    assert len(os.listdir("/proc/self/fd")) <= before[1]


WHO = """
import os, sys
from agents.errors import PrivilegeMissing
from agents.local import LocalSession
os.setgid(int(sys.argv[2])); os.setgroups([]); os.setuid(int(sys.argv[1]))
try:
    print(LocalSession().is_elevated)
except PrivilegeMissing as refusal:
    print(refusal.remedy)
"""


@pytest.mark.parametrize("may_sudo", [True, False])
def test_a_console_that_is_not_root_needs_the_sudo_rule(device: Device, may_sudo: bool) -> None:
    user = device.make_user(may_sudo=may_sudo)
    ids = [subprocess.check_output(["id", option, user], text=True).strip() for option in ("-u", "-g")]
    done = subprocess.run([sys.executable, "-c", WHO, *ids], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    if may_sudo:
        assert done.stdout == "True\n"
    else:
        assert f"{user} ALL=(root) NOPASSWD: /bin/sh" in done.stdout
