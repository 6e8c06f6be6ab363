"""A device loses its power between the renames of a comeback: Redis has all of the old or all of the new data
after the next look at it, and runs.

What is cut off is real: in the middle of the script everything of the device is killed, and its memory (/run)
is gone. About 30 seconds on two cores."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.applications.stored import Stored
from agents.errors import AgentError
from agents.own_places import JOURNALS, RUNS
from agents.returning import swapping
from tests.live.daemons import bring_back, stored_of
from tests.live.flows import Console, assert_device_is_clean
from tests.live.ground import Device, wait_until
from tests.live.redis_server import Service, request_for

HALF = '  for staging in "$@"; do swap_in'
WHOLE = '  cd / && : >"$hold/swapped"\n'


@pytest.fixture
def console(device: Device, tmp_path: Path) -> Console:
    return Console(device, tmp_path)


@pytest.fixture
def service(console: Console, tmp_path: Path) -> Iterator[Service]:
    data = console.device.btrfs / "re dis"
    data.mkdir()
    shutil.chown(data, "redis", "redis")
    with Service(data, tmp_path / "state", f"hotfleet-rd-{console.id}", "--appendonly", "yes") as service:
        yield service


@pytest.fixture
def stored(console: Console, service: Service) -> Stored:
    """What holds "new"; the server has "old" since."""
    service.connect().set("word", "new")
    found, _ = stored_of(console.back_up(request_for(service, "stream")), "redis", str(service.socket))
    service.connect().set("word", "old")
    return found


def lose_power(
    console: Console, service: Service, stored: Stored, place: str, marker: Path, patch: pytest.MonkeyPatch
) -> None:
    """Bring it back, and cut the device off before the line `place`."""
    functions = swapping._functions()
    assert functions.count(place) == 1
    stand = f': >"{marker}"; sleep 600\n{place}'
    patch.setattr(swapping, "_functions", lambda: functions.replace(place, stand))
    ended: list[BaseException] = []

    def work() -> None:
        try:
            bring_back(console, stored, None, service.daemon.name)
        except AgentError as error:
            ended.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    wait_until(lambda: marker.exists() or not thread.is_alive(), timeout_s=120, what="the swap")
    assert marker.exists(), ended
    for sign in (signal.SIGSTOP, signal.SIGKILL):  # nobody acts between the first death and the last
        for pid in console.device.session_pids():
            os.kill(pid, sign)
    (journal,) = Path(JOURNALS).glob(f"hotfleet-{console.id}-*")
    for memory in RUNS:
        shutil.rmtree(Path(memory) / journal.name, ignore_errors=True)
    thread.join(120)
    assert ended and not thread.is_alive() and service.daemon.pid == 0
    (journal / "boot").write_text("another life\n")
    patch.undo()


def word_of(service: Service) -> str:
    service.wait()
    return str(service.connect().get("word"))


def beside(service: Service) -> list[str]:
    return sorted(each.name for each in service.data.parent.iterdir() if each != service.data)


def test_half_of_it_goes_back(
    console: Console, service: Service, stored: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_power(console, service, stored, HALF, tmp_path / "cut", monkeypatch)
    assert service.daemon.call("start") != 0, "there is nothing to start on"
    assert not service.data.exists()
    console.probe()
    assert word_of(service) == "old"
    assert beside(service) == []
    assert any("what was there before is in its place" in text for text in console.sentences)
    bring_back(console, stored, None, service.daemon.name)
    assert word_of(service) == "new"
    assert service.daemon.call("stop") == 0
    assert_device_is_clean(console)


def test_all_of_it_stays_when_the_device_runs_on_it(
    console: Console, service: Service, stored: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_power(console, service, stored, WHOLE, tmp_path / "cut", monkeypatch)
    assert service.daemon.call("start") == 0
    assert word_of(service) == "new"
    service.connect().set("since", "then")
    pid = service.daemon.pid
    console.probe()
    assert service.daemon.pid == pid, "it went on working"
    assert word_of(service) == "new" and service.connect().get("since") == "then"
    (kept,) = beside(service)
    assert f"{service.data.parent / kept} is what was there before." in console.sentences
    words = ("grep", "-rqa", "old", service.data.parent / kept)
    assert subprocess.run(words, check=False).returncode == 0
    assert service.daemon.call("stop") == 0
    assert_device_is_clean(console)


def test_the_next_comeback_heals_first(
    console: Console, service: Service, stored: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_power(console, service, stored, HALF, tmp_path / "cut", monkeypatch)
    bring_back(console, stored, None, service.daemon.name)
    assert word_of(service) == "new"
    assert beside(service) == []
    assert service.daemon.call("stop") == 0
    assert_device_is_clean(console)
