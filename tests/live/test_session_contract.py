"""The contract of agents/session.py: the same tests for each way to a device."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.attendants import MOST_AT_ONCE
from agents.commands import Command, Secret
from agents.errors import ConnectionLost, ProtocolBroken
from agents.local import LocalSession
from agents.session import Session, Stream
from tests.live.ground import wait_until

CLIENT = Path(__file__).with_name("tunnel_client.py")
WORDS = [
    "a b",
    "'",
    '"',
    "$HOME",
    "`id`",
    "\\",
    "\\0101",
    "a\nb",
    "!x",
    "",
    "-n",
    "ä",
    "\udcff",
    "*",
    "%s",
    "~",
]


@pytest.fixture(params=["ssh", "local"])
def session(request: pytest.FixtureRequest, live_ground: None) -> Iterator[Session]:
    session: Session
    if request.param == "ssh":
        session = request.getfixturevalue("device").connect()
    else:
        session = LocalSession()
    yield session
    session.close()
    session.close()


def echo(stream: Stream) -> None:
    while data := stream.recv(65536):
        stream.sendall(data)


def talk(session: Session, url: str, connections: int, size: int, *more: str) -> list[str]:
    """Let the device open connections to a door, and return what became of each."""
    assert url.startswith(("rest:http://127.0.0.1:", "rest:http+unix:///"))
    place = url.removeprefix("rest:http://127.0.0.1:").removeprefix("rest:http+unix://").removesuffix("/")
    words = (sys.executable, str(CLIENT), place.removesuffix(":"), str(connections), str(size), *more)
    result = session.run(Command.of(*words), timeout_s=120)
    assert result.is_success, result.tail
    return result.text.split()


def test_it_tells_status_output_and_errors(session: Session) -> None:
    words = ("sh", "-c", "cat; echo noise >&2; exit 3")
    result = session.run(Command.of(*words, stdin=Secret("word")), timeout_s=60)
    assert (result.status, result.stdout, result.stderr) == (3, b"word", b"noise\n")
    assert session.is_elevated is False


def test_words_arrive_as_they_are(session: Session) -> None:
    result = session.run(Command.of("printf", "%s\\0", *WORDS), timeout_s=60)
    assert result.text.split("\0")[:-1] == WORDS


def test_without_input_a_program_reads_the_end(session: Session) -> None:
    assert session.run(Command.of("cat"), timeout_s=60).stdout == b""


def test_a_missing_program_is_127(session: Session) -> None:
    assert session.run(Command.of("no-such-program"), timeout_s=60).status == 127


@pytest.mark.parametrize(("name", "status"), [("KILL", 137), ("TERM", 143)])
def test_a_killed_program_has_the_signal_as_status(session: Session, name: str, status: int) -> None:
    assert session.run(Command.of("sh", "-c", f"kill -{name} $$"), timeout_s=60).status == status


def test_stdin_and_both_outputs_of_16_mb_do_not_block_each_other(session: Session) -> None:
    payload = os.urandom(16 * 1024 * 1024)
    both = Command.of("sh", "-c", "tee /dev/stderr", stdin=payload)
    result = session.run(both, timeout_s=60, limit_bytes=len(payload))
    assert result.stdout == payload
    assert result.stderr == payload[-64 * 1024 :]


def test_a_program_that_ignores_its_input_ends_well(session: Session) -> None:
    assert session.run(Command.of("true", stdin=b"x" * 8_000_000), timeout_s=60).status == 0


def test_output_over_the_limit_is_refused(session: Session) -> None:
    with pytest.raises(ProtocolBroken, match="more than 1000 bytes"):
        session.run(Command.of("yes"), timeout_s=60, limit_bytes=1000)
    assert session.run(Command.of("echo", "on"), timeout_s=60).stdout == b"on\n"


def test_a_command_that_takes_too_long(session: Session) -> None:
    with pytest.raises(TimeoutError):
        session.run(Command.of("sleep", "30"), timeout_s=1)


def test_a_started_program_keeps_its_stdin(session: Session) -> None:
    process = session.start(Command.of("cat", stdin=b"one "))
    assert process.read(timeout_s=60) == b"one "
    with pytest.raises(TimeoutError):
        process.read(timeout_s=0.3)
    with pytest.raises(TimeoutError):
        process.wait(timeout_s=0.1)
    process.write(b"two")
    assert process.read(timeout_s=60) == b"two"
    process.close_stdin()
    assert process.read(timeout_s=60) == b""
    assert process.wait(timeout_s=60) == 0
    with pytest.raises(ConnectionLost):
        process.write(b"x")
    process.close()
    process.close()


def test_one_thread_writes_while_another_reads(session: Session) -> None:
    process = session.start(Command.of("cat"))
    payload = os.urandom(4 * 1024 * 1024)

    def write() -> None:
        process.write(payload)
        process.close_stdin()

    writer = threading.Thread(target=write)
    writer.start()
    received = b""
    while data := process.read(timeout_s=60):
        received += data
    writer.join()
    assert received == payload
    process.close()


def test_closing_wakes_a_reader(session: Session) -> None:
    process = session.start(Command.of("cat"))
    threading.Timer(0.3, process.close).start()
    with pytest.raises(ConnectionLost):
        process.read(timeout_s=60)


def test_the_door_carries_32_mb_both_ways_on_four_connections(session: Session) -> None:
    with session.open_door(echo) as door:
        assert talk(session, door.repository_url, 4, 8 * 1024 * 1024) == ["same"] * 4


def test_an_answer_of_16_mb_in_one_piece_arrives_whole(session: Session) -> None:
    size = 16 * 1024 * 1024

    def serve(stream: Stream) -> None:
        received = bytearray()
        while len(received) < size and (data := stream.recv(65536)):
            received += data
        stream.sendall(bytes(received))

    with session.open_door(serve) as door:
        assert talk(session, door.repository_url, 2, size) == ["same"] * 2


def test_a_stream_that_hears_nothing_times_out(session: Session) -> None:
    outcomes: list[str] = []

    def serve(stream: Stream) -> None:
        stream.settimeout(0.2)
        data = stream.recv(10)
        try:
            stream.recv(10)
        except TimeoutError:
            outcomes.append("timeout")
        stream.sendall(data)

    with session.open_door(serve) as door:
        assert talk(session, door.repository_url, 1, 10) == ["same"]
    assert outcomes == ["timeout"]


def test_at_most_sixteen_are_served_at_once(session: Session, tmp_path: Path) -> None:
    lock = threading.Lock()
    served = most = 0

    def serve(stream: Stream) -> None:
        nonlocal served, most
        with lock:
            served += 1
            most = max(most, served)
        # Busy until all the others have come and were refused.
        wait_until(lambda: len(os.listdir(tmp_path)) >= 8, timeout_s=60, what="eight refusals")
        echo(stream)
        with lock:
            served -= 1

    with session.open_door(serve) as door:
        results = talk(session, door.repository_url, MOST_AT_ONCE + 8, 1000, str(tmp_path))
        assert results.count("same") == MOST_AT_ONCE
        assert most == MOST_AT_ONCE
        wait_until(lambda: served == 0, what="the end of the connections")
        # The places are free again.
        assert talk(session, door.repository_url, MOST_AT_ONCE, 1000) == ["same"] * MOST_AT_ONCE


def test_a_closed_door_is_closed(session: Session) -> None:
    with session.open_door(echo) as door:
        pass
    assert talk(session, door.repository_url, 1, 10)[0] in ("ConnectionRefusedError", "FileNotFoundError")
    assert not [thread for thread in threading.enumerate() if thread.name == "door"]
