"""The live socket: hints to pages, nothing else. Its other half, `static/js/live.js`, states the contract.

The client names its topics in the address (`?topic=run:<uuid>&topic=device:<uuid>&topic=fleet`), they are
authorised once, and it never sends anything. A page fetches what it shows through a normal view.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections import Counter
from typing import Any, ClassVar
from urllib.parse import parse_qs

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.contrib.auth import get_user
from django.http import HttpRequest
from django.http.cookie import parse_cookie
from django.utils import timezone

from backupsite.accounts.models import User
from backupsite.accounts.sessions import SessionStore, hash_key
from backupsite.fleet.models import Device
from backupsite.runs import bell
from backupsite.runs.models import Run

BEAT_S = 5.0
HINT_S = 1.0
RECHECK_S = 60.0
MOST_TOPICS = 20
MOST_SOCKETS = 5
MOST_TOPIC_CHARACTERS = 64

SIGNED_OUT, NOT_ALLOWED, UNKNOWN_TOPIC = 4401, 4403, 4404
TOO_MANY, NOT_EXPECTED = 4429, 4400

_sockets: Counter[int] = Counter()


class LiveConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels has no type hints
    """One open socket of one signed-in person."""

    sockets: ClassVar[Counter[int]] = _sockets

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.session_key = ""
        self.user_id: int | None = None
        # The group that rings, and the topic's name as the page wrote it.
        self.topics: dict[str, str] = {}
        self.hints: dict[str, Hints] = {}
        self.watch: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Accept, then close with a code if something is wrong: a refused handshake would tell nothing."""
        await self.accept()
        code = await self.admit()
        if code is not None:
            await self.close(code=code)
            return
        for group, topic in self.topics.items():
            self.hints[group] = Hints(self, topic)
            await self.channel_layer.group_add(group, self.channel_name)
        await self.channel_layer.group_add(bell.group_of_user(self.user_id or 0), self.channel_name)
        self.watch = asyncio.create_task(self.beat())

    async def admit(self) -> int | None:
        """Find out who this is and what they may watch. Return the code to close with, or None."""
        cookies = dict(self.scope["headers"]).get(b"cookie", b"").decode("latin-1")
        self.session_key = parse_cookie(cookies).get(settings.SESSION_COOKIE_NAME, "")
        user = await _off_thread(_find_user)(self.session_key)
        if user is None:
            return SIGNED_OUT
        if self.sockets[user.pk] >= MOST_SOCKETS:
            return TOO_MANY
        # Counted before the next await, so that two sockets cannot both be the fifth.
        self.user_id = user.pk
        self.sockets[user.pk] += 1
        names = parse_qs(self.scope["query_string"].decode("latin-1")).get("topic", [])
        if not names or len(names) > MOST_TOPICS:
            return UNKNOWN_TOPIC
        found = await _off_thread(_find_groups)(names)
        if found is None:
            return UNKNOWN_TOPIC
        self.topics = found
        return None

    async def disconnect(self, code: int) -> None:
        if self.watch is not None:
            self.watch.cancel()
        for hints in self.hints.values():
            hints.stop()
        if self.user_id is None:
            return
        self.sockets[self.user_id] -= 1
        if self.sockets[self.user_id] <= 0:
            del self.sockets[self.user_id]
        for group in (*self.topics, bell.group_of_user(self.user_id)):
            await self.channel_layer.group_discard(group, self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """The page has nothing to say here; who talks is no page of ours."""
        await self.close(code=NOT_EXPECTED)

    async def beat(self) -> None:
        """Show every few seconds that the server lives; look now and then whether the session still does."""
        checked = time.monotonic()
        while True:
            await self.tell({"t": "beat", "at": timezone.now().isoformat()})
            await asyncio.sleep(BEAT_S)
            if time.monotonic() - checked >= RECHECK_S:
                checked = time.monotonic()
                user = await _off_thread(_find_user)(self.session_key)
                if user is None or user.pk != self.user_id:
                    await self.close(code=SIGNED_OUT)
                    return

    async def tell(self, message: dict[str, object]) -> None:
        await self.send(text_data=json.dumps(message))

    async def hint(self, event: dict[str, Any]) -> None:
        """From the group of a topic (backupsite/runs/bell.py): something is new there."""
        group = event.get("group")
        if group in self.hints:
            await self.hints[group].ring(event)

    async def signed_out(self, event: dict[str, Any]) -> None:
        """From the group of the user (accounts/signing.py): one session ended, or all of them."""
        if event.get("session") in (None, hash_key(self.session_key)):
            await self.close(code=SIGNED_OUT)


class Hints:
    """The hints of one topic to one socket: the first goes at once, then one a second with what came last."""

    def __init__(self, consumer: LiveConsumer, topic: str) -> None:
        self._consumer, self._topic = consumer, topic
        self._sent = float("-inf")
        self._last: dict[str, Any] = {}
        self._later: asyncio.Task[None] | None = None

    async def ring(self, event: dict[str, Any]) -> None:
        self._last = event
        if self._later is not None:
            return
        wait = self._sent + HINT_S - time.monotonic()
        if wait <= 0:
            await self._send()
        else:
            self._later = asyncio.create_task(self._send_later(wait))

    async def _send_later(self, wait: float) -> None:
        await asyncio.sleep(wait)
        self._later = None
        await self._send()

    async def _send(self) -> None:
        self._sent = time.monotonic()
        await self._consumer.tell(
            {"t": "hint", "topic": self._topic, "id": self._last.get("id"), "seq": self._last.get("seq")}
        )

    def stop(self) -> None:
        if self._later is not None:
            self._later.cancel()


def _off_thread(function: Any) -> Any:
    """Run database work in the pool: by default all sockets of a process would share one thread."""
    return database_sync_to_async(function, thread_sensitive=False)


def _find_user(session_key: str) -> User | None:
    """Given the cookie's value, return who is signed in with it, as Django's own middleware would find."""
    if not session_key:
        return None
    request = HttpRequest()
    request.session = SessionStore(session_key)
    user = get_user(request)
    return user if isinstance(user, User) and user.is_active else None


def _find_groups(names: list[str]) -> dict[str, str] | None:
    """Given topics as a page names them, return their groups with these names. None when one does not exist.

    Everybody who is signed in may see every run and device until roles come; this is the place to ask.
    """
    groups = {}
    for name in names:
        group = _find_group(name)
        if group is None:
            return None
        groups[group] = name
    return groups


def _find_group(name: str) -> str | None:
    if name == bell.FLEET:
        return bell.FLEET
    kind, _, rest = name.partition(":")
    if len(name) > MOST_TOPIC_CHARACTERS or kind not in ("run", "device"):
        return None
    try:
        key = uuid.UUID(rest)
    except ValueError:
        return None
    if kind == "run":
        return bell.group_of_run(key) if Run.objects.filter(pk=key).exists() else None
    return bell.group_of_device(key) if Device.objects.filter(uuid=key).exists() else None
