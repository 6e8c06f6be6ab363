"""The live socket, with a real Valkey behind it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from channels.db import database_sync_to_async
from channels.layers import channel_layers, get_channel_layer
from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.test import Client

from backupsite.accounts.models import User
from backupsite.accounts.sessions import hash_key
from backupsite.fleet.models import Device
from backupsite.runs import bell, consumers
from backupsite.runs.consumers import LiveConsumer
from backupsite.runs.models import Run
from backupsite.runs.requests import request_run
from tests.backupsite.runs.grounds import Valkey

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]

Socket = Any
Open = Callable[..., Awaitable[Socket]]


@pytest.fixture
def cookie(transactional_db: None) -> str:
    user = User.objects.create_user("ada", "correct horse battery")
    client = Client()
    client.force_login(user)
    return client.cookies[settings.SESSION_COOKIE_NAME].value


@pytest.fixture
def run(transactional_db: None) -> Run:
    device = Device.objects.create(name="db-01", slug="db-01")
    return request_run("backup", device, request={}, requested_by="ada")


@pytest_asyncio.fixture
async def open_socket(valkey: Valkey) -> AsyncIterator[Open]:
    """Open sockets that are closed at the end of the test."""
    opened: list[Socket] = []
    channel_layers.backends.clear()
    consumers._sockets.clear()

    async def open_one(cookie: str, *topics: str) -> Socket:
        query = "&".join(f"topic={topic}" for topic in topics)
        headers = [(b"cookie", f"{settings.SESSION_COOKIE_NAME}={cookie}".encode())]
        socket = WebsocketCommunicator(LiveConsumer.as_asgi(), f"/ws/live/?{query}", headers=headers)
        accepted, _ = await socket.connect(timeout=60)
        assert accepted
        opened.append(socket)
        return socket

    yield open_one
    for socket in opened:
        await socket.disconnect()
    layer: Any = get_channel_layer()
    await layer.flush()
    channel_layers.backends.clear()


async def close_code(socket: Socket) -> int:
    while True:
        message = await socket.receive_output(5)
        if message["type"] == "websocket.close":
            return int(message["code"])


async def next_hint(socket: Socket, timeout: float = 3) -> dict[str, Any]:
    while True:
        message: dict[str, Any] = await socket.receive_json_from(timeout)
        if message["t"] == "hint":
            return message


async def test_a_bell_reaches_its_topics(open_socket: Open, cookie: str, run: Run) -> None:
    topics = [f"run:{run.pk}", f"device:{run.device.uuid}", "fleet"]
    socket = await open_socket(cookie, *topics)
    assert (await socket.receive_json_from(3))["t"] == "beat"
    await asyncio.to_thread(bell.ring, run.pk, run.device.uuid, 7)
    hints = [await next_hint(socket) for _ in topics]
    assert sorted(hint["topic"] for hint in hints) == sorted(topics)
    assert {(hint["id"], hint["seq"]) for hint in hints} == {(str(run.pk), 7)}


async def test_a_topic_hears_only_its_own_bell(open_socket: Open, cookie: str, run: Run) -> None:
    socket = await open_socket(cookie, f"run:{run.pk}")
    await socket.receive_json_from(3)
    await asyncio.to_thread(bell.ring, uuid.uuid4(), run.device.uuid, 1)
    assert await socket.receive_nothing(0.5)


async def test_many_rings_are_one_hint_a_second_with_the_last_number(
    open_socket: Open, cookie: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "HINT_S", 0.6)
    socket = await open_socket(cookie, f"run:{run.pk}")
    await socket.receive_json_from(3)
    for sequence in range(1, 41):
        await asyncio.to_thread(bell.ring, run.pk, run.device.uuid, sequence)
    first, last = await next_hint(socket), await next_hint(socket)
    assert first["seq"] < last["seq"] == 40
    assert await socket.receive_nothing(0.8)


@pytest.mark.parametrize("value", ["", "x" * 32, "\x00"])
async def test_a_stranger_is_told_to_sign_in(open_socket: Open, run: Run, value: str) -> None:
    assert await close_code(await open_socket(value, "fleet")) == 4401


@pytest.mark.parametrize(
    "topics",
    [[], ["run:42"], ["run:"], [f"run:{uuid.UUID(int=1)}"], ["users"], ["user.1"], ["fleet", "x" * 300],
     ["fleet"] * 21],
)  # fmt: skip
async def test_a_topic_that_is_not_there_is_refused(
    open_socket: Open, cookie: str, topics: list[str]
) -> None:
    assert await close_code(await open_socket(cookie, *topics)) == 4404


async def test_signing_out_closes_the_socket(open_socket: Open, cookie: str, run: Run) -> None:
    socket = await open_socket(cookie, "fleet")
    # It listens to its groups before its first beat.
    await socket.receive_json_from(3)
    group = bell.group_of_user((await User.objects.aget()).pk)
    message: dict[str, object] = {"type": "signed.out", "session": hash_key("another browser")}
    await asyncio.to_thread(bell.publish, [group], message)
    assert await socket.receive_nothing(0.3), "another browser was signed out"
    await asyncio.to_thread(bell.publish, [group], message | {"session": hash_key(cookie)})
    assert await close_code(socket) == 4401


async def test_a_session_that_ended_without_a_word_is_noticed(
    open_socket: Open, cookie: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "BEAT_S", 0.05)
    monkeypatch.setattr(consumers, "RECHECK_S", 0.1)
    socket = await open_socket(cookie, "fleet")
    await socket.receive_json_from(3)
    await User.objects.aupdate(is_active=False)
    assert await close_code(socket) == 4401


async def test_who_talks_is_no_page_of_ours(open_socket: Open, cookie: str) -> None:
    socket = await open_socket(cookie, "fleet")
    await socket.send_to(text_data="hello")
    assert await close_code(socket) == 4400


async def test_five_sockets_a_person_and_a_closed_one_counts_no_more(open_socket: Open, cookie: str) -> None:
    sockets = []
    for _ in range(5):
        sockets.append(await open_socket(cookie, "fleet"))
        await sockets[-1].receive_json_from(3)
    assert await close_code(await open_socket(cookie, "fleet")) == 4429
    await sockets[0].disconnect()
    again = await open_socket(cookie, "fleet")
    assert (await again.receive_json_from(3))["t"] == "beat"


async def test_a_dead_valkey_does_not_stop_who_rings(valkey: Valkey, run: Run) -> None:
    valkey.stop()
    await asyncio.to_thread(bell.ring, run.pk, run.device.uuid, 1)
    assert await database_sync_to_async(Run.objects.count)() == 1
