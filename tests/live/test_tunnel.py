"""The way from a device back to us: the reverse tunnel of a real sshd."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agents.commands import Command
from agents.errors import ConnectionLost, ForwardingRefused
from agents.session import Session, Stream
from agents.ssh.session import SshSession
from tests.live.ground import Device, wait_until

CLIENT = Path(__file__).with_name("tunnel_client.py")
MEGABYTE = 1024 * 1024


@pytest.fixture
def session(device: Device) -> Iterator[SshSession]:
    session = device.connect()
    yield session
    session.close()


def echo(stream: Stream) -> None:
    while data := stream.recv(65536):
        stream.sendall(data)


def hold(stream: Stream) -> None:
    while stream.recv(65536):
        pass


def port_of(url: str) -> str:
    assert url.startswith("rest:http://127.0.0.1:")
    return url.rsplit(":", 1)[1].rstrip("/")


def talk(session: Session, url: str, connections: int = 1, size: int = 1000) -> list[str]:
    words = (sys.executable, str(CLIENT), port_of(url), str(connections), str(size))
    result = session.run(Command.of(*words), timeout_s=120)
    assert result.is_success, result.tail
    return result.text.split()


def test_new_keys_in_the_middle_change_nothing(make_device: Callable[..., Device]) -> None:
    session = make_device(RekeyLimit="1M none").connect()
    with session.open_door(echo) as door:
        assert talk(session, door.repository_url, 4, 8 * MEGABYTE) == ["same"] * 4
    payload = os.urandom(8 * MEGABYTE)
    both = Command.of("cat", stdin=payload)
    assert session.run(both, timeout_s=60, limit_bytes=len(payload)).stdout == payload
    session.close()


def test_the_port_listens_on_loopback_only(session: SshSession, device: Device) -> None:
    with session.open_door(echo) as door:
        port = f"{int(port_of(door.repository_url)):04X}"
        tables = [Path(f"/proc/{device.sshd_pid}/net/{name}").read_text() for name in ("tcp", "tcp6")]
        listening = [
            line.split()[1] for table in tables for line in table.splitlines() if f":{port} " in line
        ]
        assert f"0100007F:{port}" in listening
        assert not [address for address in listening if address.startswith("00000000")]


def test_two_doors_do_not_mix_and_one_survives_the_other(session: SshSession) -> None:
    seen: list[str] = []

    def named(name: str) -> Callable[[Stream], None]:
        def serve(stream: Stream) -> None:
            seen.append(name)
            echo(stream)

        return serve

    with session.open_door(named("outer")) as outer:
        with session.open_door(named("inner")) as inner:
            assert talk(session, inner.repository_url) == ["same"]
            assert talk(session, outer.repository_url) == ["same"]
        assert talk(session, inner.repository_url) == ["ConnectionRefusedError"]
        assert talk(session, outer.repository_url) == ["same"]
    assert seen == ["inner", "outer", "outer"]


def test_a_slow_attendant_delays_nobody_else(session: SshSession) -> None:
    free = threading.Event()

    def wait(stream: Stream) -> None:
        free.wait(300)  # longer than anybody waits here for an answer

    with session.open_door(wait) as slow, session.open_door(echo) as quick:
        process = session.start(
            Command.of(sys.executable, str(CLIENT), port_of(slow.repository_url), "2", "10")
        )
        assert talk(session, quick.repository_url) == ["same"]
        free.set()
        process.close()


def test_forbidden_forwarding_is_said_with_the_remedy(make_device: Callable[..., Device]) -> None:
    device = make_device(AllowTcpForwarding="no")
    session = device.connect()
    with pytest.raises(ForwardingRefused) as refusal, session.open_door(echo):
        pass
    assert "AllowTcpForwarding" in refusal.value.remedy
    assert session.run(Command.of("echo", "on"), timeout_s=60).stdout == b"on\n"
    session.close()


def test_a_key_line_without_the_permission_is_refused(device: Device) -> None:
    device.authorize("root", f"restrict {device.key_pair.public_line}")
    session = device.connect()
    with pytest.raises(ForwardingRefused, match="reverse tunnel") as refusal, session.open_door(echo):
        pass
    assert "permitlisten" in refusal.value.remedy
    session.close()


def test_closing_the_door_ends_its_connections(session: SshSession) -> None:
    with session.open_door(hold) as door:
        process = session.start(
            Command.of(sys.executable, str(CLIENT), port_of(door.repository_url), "3", "10")
        )
        wait_until(lambda: sum(thread.name == "door" for thread in threading.enumerate()) == 3)
    assert not [thread for thread in threading.enumerate() if thread.name == "door"]
    assert process.read(timeout_s=60).split() == [b"differs"] * 3
    process.close()


def test_a_cut_network_ends_the_connections_with_an_error(session: SshSession, device: Device) -> None:
    ended: list[str] = []

    def serve(stream: Stream) -> None:
        try:
            hold(stream)
            ended.append("end")
        except OSError as failure:
            ended.append(type(failure).__name__)

    def cut_while_open() -> None:
        with session.open_door(serve) as door:
            words = (sys.executable, str(CLIENT), port_of(door.repository_url), "1", "10")
            process = session.start(Command.of(*words))
            wait_until(lambda: any(thread.name == "door" for thread in threading.enumerate()))
            device.cut()
            process.wait(timeout_s=60)

    with pytest.raises(ConnectionLost):
        cut_while_open()
    # Never a quiet end: to the gateway that would look like a device that was finished.
    assert ended == ["ConnectionResetError"]
