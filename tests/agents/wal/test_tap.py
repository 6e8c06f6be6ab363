"""Whatever a device says instead of its log is refused, and bounded."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from agents.errors import AgentError, Cancelled, ProtocolBroken
from agents.facts import Detail, Instance
from agents.wal.asking import Server
from agents.wal.tap import Tap
from agents.wal.words import StreamBroken
from tests.agents.wal.logs import SEGMENT

HEAD = b"wal 1763812800000000 0/500010 0/500010 00000001 7311 reserved 0/400000"
DETAILS = {"owner": "postgres", "socket": "/run", "port": "5432", "psql": "psql", "asked_in": "postgres"}
INSTANCE = Instance(
    "postgresql", "15/main", "PostgreSQL", "15.1", ("/data",), "", True,
    tuple(Detail(name, value) for name, value in {**DETAILS, "data": "/data"}.items()),
)  # fmt: skip


class Program:
    """A long program of a device that says what it is told to, in pieces, and then ends."""

    stderr_tail = b"FATAL:  terminating connection"

    def __init__(self, said: bytes, size: int) -> None:
        self._pieces = [said[start : start + size] for start in range(0, len(said), size)]
        self.is_closed = False

    def read(self, *, timeout_s: float) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""

    def wait(self, *, timeout_s: float) -> int:
        return 2

    def close(self) -> None:
        self.is_closed = True


class Device:
    """A runner whose program says something."""

    def __init__(self, said: bytes, size: int = 7) -> None:
        self.directory = "/run/hotfleet/run"
        self.program = Program(b"ready\n" + said, size)
        self.asked: list[bytes] = []

    def start(self, command: object, **more: object) -> Program:
        return self.program

    def write_file(self, name: str, content: bytes) -> str:
        self.asked.append(content)
        return name


def tap_of(device: Any, check: Any = lambda: None) -> Tap:
    """Any: it stands in for a runner."""
    return Tap(device, Server(INSTANCE, "postgres", SEGMENT, 8192), "hotfleet_a_b", check)


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_an_answer_is_understood_however_it_is_cut(size: int) -> None:
    device = Device(HEAD + b" 5\nab\nd\0end same\n" + HEAD + b" 0\nend same\n", size)
    tap = tap_of(device)
    answer = tap.ask(kept=0x400000, timeline=1, start=0x50000B, most=100)
    assert answer.data == b"ab\nd\0" and answer.flushed == 0x500010 and answer.slot == "reserved"
    assert answer.at == datetime(2025, 11, 22, 12, tzinfo=UTC) and answer.system_identifier == "7311"
    assert device.asked == [b"0/400000 0/50000B 000000010000000000000005 11 100\n"]
    assert tap.ask(kept=0, timeline=1, start=0x500010, most=100).data == b""


def test_log_that_is_gone_or_became_other_log_is_no_log() -> None:
    tap = tap_of(Device(HEAD + b" missing\n" + HEAD + b" 3\nabcend other\n"))
    assert tap.ask(kept=0, timeline=1, start=0, most=10).data is None
    assert tap.ask(kept=0, timeline=1, start=0, most=10).data is None


@pytest.mark.parametrize(
    "said",
    [
        b"\n",
        b"wal\n",
        HEAD + b"\n",
        HEAD + b" 11\n" + b"x" * 11 + b"end same\n",
        HEAD + b" 99999999999\n",
        HEAD + b" -1\n",
        HEAD.replace(b"0/500010", b"0/5000100000", 1) + b" 0\nend same\n",
        HEAD.replace(b"0/500010", b"//500010", 1) + b" 0\nend same\n",
        HEAD.replace(b"7311", b"7311' or") + b" 0\nend same\n",
        HEAD + b" 3\nabcEND same\n",
        HEAD + b" 3\nabc",
        b"x" * 100_000,
        HEAD.replace(b"1763812800000000", b"999999999999999999") + b" 0\nend same\n",
    ],
)
def test_anything_else_is_refused(said: bytes) -> None:
    tap = tap_of(Device(said))
    with pytest.raises(AgentError) as caught:
        tap.ask(kept=0, timeline=1, start=0, most=10)
    assert isinstance(caught.value, ProtocolBroken | StreamBroken)


def test_the_end_of_the_session_is_told_with_the_servers_words() -> None:
    with pytest.raises(StreamBroken) as caught:
        tap_of(Device(b"")).ask(kept=0, timeline=1, start=0, most=10)
    assert "terminating connection" in caught.value.message and caught.value.retryable


def test_a_server_that_waits_for_its_sessions_to_end_is_left() -> None:
    with pytest.raises(StreamBroken):
        tap_of(Device(b"stopping\n")).ask(kept=0, timeline=1, start=0, most=10)


def test_who_stops_it_need_not_wait_for_the_device() -> None:
    state = SimpleNamespace(is_stopped=False)

    def check() -> None:
        if state.is_stopped:
            raise Cancelled("stopped")

    tap = tap_of(Device(b""), check)
    state.is_stopped = True
    with pytest.raises(Cancelled):
        tap.ask(kept=0, timeline=1, start=0, most=10)


def test_a_program_that_does_not_start_is_closed() -> None:
    device = Device(b"")
    device.program = Program(b"what\n", 5)
    with pytest.raises(ProtocolBroken):
        tap_of(device)
    assert device.program.is_closed
