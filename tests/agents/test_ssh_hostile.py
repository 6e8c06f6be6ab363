"""What a device can do to the console by breaking the rules of the protocol."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import paramiko
import pytest

from agents.commands import Command
from agents.errors import ConnectFailed, ConnectionLost, ForwardingRefused
from agents.session import Stream
from agents.ssh import channels, door
from tests.agents.hostile_sshd import HostileSshd, hostile_sshd


@pytest.fixture
def device() -> Iterator[HostileSshd]:
    with hostile_sshd() as server:
        yield server


def serve_nobody(stream: Stream) -> None:
    raise AssertionError("nobody should have been served")


def test_the_server_itself_can_behave(device: HostileSshd) -> None:
    """The control: without a fault everything works."""
    session = device.connect()
    assert session.run(Command.of("echo", "on"), timeout_s=60).stdout == b"on\n"
    served, opened = threading.Event(), threading.Event()

    def serve(stream: Stream) -> None:
        served.set()
        # A channel that is closed this soon looks to paramiko's server like one that was never opened.
        opened.wait(60)

    with session.open_door(serve) as open_door:
        device.open_tunnel_channel(int(open_door.repository_url.rsplit(":", 1)[1].rstrip("/")))
        opened.set()
        assert served.wait(60)
    assert device.manners.cancelled == [2222]
    session.close()


def test_a_login_that_is_never_answered(device: HostileSshd) -> None:
    device.manners.answers_login = False
    started = time.monotonic()
    with pytest.raises(ConnectFailed, match="did not answer the login"):
        device.connect(timeout_s=5)
    assert time.monotonic() - started < 60


def test_a_command_that_is_never_confirmed(device: HostileSshd, monkeypatch: pytest.MonkeyPatch) -> None:
    device.manners.commands_before_silence = 1
    session = device.connect()
    monkeypatch.setattr(channels, "EXEC_ANSWER_S", 0.5)
    with pytest.raises(ConnectionLost, match="did not start the command"):
        session.run(Command.of("true"), timeout_s=60)
    session.close()


def test_a_channel_to_a_port_that_nobody_asked_for_is_refused(device: HostileSshd) -> None:
    session = device.connect()
    with session.open_door(serve_nobody):
        assert device.is_refused(22)
    # Nor after the door was closed: paramiko still has our handler then.
    assert device.is_refused(2222)
    assert session.run(Command.of("echo", "on"), timeout_s=60).stdout == b"on\n"
    session.close()


def test_a_channel_before_any_door_is_refused(device: HostileSshd) -> None:
    session = device.connect()
    with pytest.raises(paramiko.ChannelException):
        device.open_tunnel_channel(2222)
    session.close()


def test_a_flood_of_channels_ends_the_connection(
    device: HostileSshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "MOST_WAITING", 4)
    # A dispatcher that cannot keep up.
    monkeypatch.setattr(channels.ChannelStream, "close", lambda self: time.sleep(1))
    session = device.connect()
    with session.open_door(serve_nobody):
        for _ in range(20):
            try:
                device.open_tunnel_channel(22)
            except (paramiko.SSHException, EOFError, OSError):
                break
        with pytest.raises(ConnectionLost, match="faster than they can be refused"):
            session.run(Command.of("true"), timeout_s=60)
    session.close()


def test_a_door_without_a_port_is_refused(device: HostileSshd) -> None:
    device.manners.gives_ports = False
    session = device.connect()
    with pytest.raises(ForwardingRefused), session.open_door(serve_nobody):
        pass
    session.close()
