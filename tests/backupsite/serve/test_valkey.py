"""The console's own Valkey: private, durable, and started wherever the home lies."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis

from backupsite import environment
from backupsite.serve import valkey
from tests.backupsite.serve.processes import wait_until


@pytest.fixture
def start() -> Iterator[Callable[[Path], subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []

    def start_at(home: Path) -> subprocess.Popen[bytes]:
        socket = environment.valkey_socket(home)
        configuration = valkey.write_configuration(home, socket)
        command = [valkey.find_binary(), configuration]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, umask=0o077)
        started.append(process)
        wait_until(lambda: valkey.answers(socket), 60, "an answer to PING")
        return process

    yield start_at
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.parametrize("name", ["plain", "with blanks", 'quote"s', "back\\slash", "per%cent?#", "Größe"])
def test_it_starts_in_a_directory_of_any_name(
    tmp_path: Path, name: str, start: Callable[[Path], subprocess.Popen[bytes]]
) -> None:
    home = tmp_path / name
    home.mkdir(mode=0o700)
    process = start(home)
    try:
        socket = environment.valkey_socket(home)
        client = Redis.from_url(environment.redis_url(socket))
        assert client.set("key", "value")
        assert socket.stat().st_mode & 0o777 == 0o700
        assert socket.parent.stat().st_mode & 0o777 == 0o700
        assert client.config_get("appendonly")["appendonly"] == "yes"
        assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
        assert client.config_get("port")["port"] == "0"
    finally:
        process.terminate()
        process.wait(60)


def test_what_was_queued_survives_kill_9(
    tmp_path: Path, start: Callable[[Path], subprocess.Popen[bytes]]
) -> None:
    url = environment.redis_url(environment.valkey_socket(tmp_path))
    tmp_path.chmod(0o700)
    process = start(tmp_path)
    client = Redis.from_url(url)
    client.set("key", "value")
    client.waitaof(1, 0, 5000)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process = start(tmp_path)
    try:
        assert Redis.from_url(url).get("key") == b"value"
    finally:
        process.terminate()
        process.wait(60)


def test_each_file_of_it_is_private(tmp_path: Path, start: Callable[[Path], subprocess.Popen[bytes]]) -> None:
    process = start(tmp_path)
    process.terminate()
    process.wait(60)
    found = [path for path in tmp_path.rglob("*") if path.name != "valkey.conf"]
    assert any(path.name.endswith(".aof") for path in found)
    assert [path for path in found if path.stat().st_mode & 0o077] == []


def test_a_directory_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o755)
    with pytest.raises(valkey.NoValkeyError, match="not a private directory"):
        valkey.write_configuration(tmp_path, tmp_path / "run" / "valkey.sock")


def test_a_link_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    (tmp_path / "run").symlink_to(elsewhere)
    with pytest.raises(valkey.NoValkeyError, match="not a private directory"):
        valkey.write_configuration(tmp_path, tmp_path / "run" / "valkey.sock")


def test_a_long_home_gets_a_short_socket_that_is_always_the_same() -> None:
    home = Path("/srv") / ("x" * 120)
    socket = environment.valkey_socket(home)
    assert len(os.fsencode(socket)) <= 107
    assert socket == environment.valkey_socket(home)
    assert socket != environment.valkey_socket(home / "other")


def test_nobody_answers_at_a_socket_that_does_not_exist(tmp_path: Path) -> None:
    assert not valkey.answers(tmp_path / "nothing.sock")
