"""What this console runs on, and whether its parts answer. Everything is asked now, nothing is remembered."""

from __future__ import annotations

import platform
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import django
from django.conf import settings
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET
from redis.exceptions import RedisError

from agents.errors import AgentError
from backupsite import __version__, engine
from backupsite.accounts.models import AuditEvent
from backupsite.accounts.tabs import settings_tabs
from backupsite.runs import dispatch, queue, tick
from backupsite.runs.kinds import QueueName
from backupsite.runs.models import TickLease
from backupsite.web.status import Status

# A worker that waits says so every 45 seconds, one that works more often.
SILENT: Final = timedelta(seconds=120)
_ANSWERS: Final = Status("Answers", "good", "good")
_SILENT: Final = Status("Silent", "bad", "bad")


@dataclass(frozen=True)
class Part:
    """A part of the console: whether it answers, and what it says or what to do."""

    name: str
    status: Status
    text: str
    seen_at: datetime | None = None


@require_GET
def settings_about(request: HttpRequest) -> HttpResponse:
    newest = AuditEvent.objects.order_by("-id").first()
    context = {
        "tabs": settings_tabs("settings-about"),
        "parts": [*_read_queues(), _read_tick()],
        "versions": _read_versions(),
        "home": settings.HOTFLEET_HOME,
        "newest": newest,
        "event_count": AuditEvent.objects.count(),
    }
    return render(request, "console/settings_about.html", context)


def _read_queues() -> list[Part]:
    try:
        client: Any = queue.connect()
        info = client.info("server")
        version = info.get("valkey_version") or info.get("redis_version", "")
        name = "Valkey" if "valkey_version" in info else "Redis"
        return [
            Part("Queue", _ANSWERS, f"{name} {version}."),
            *(_read_worker(client, name) for name in queue.NAMES),
        ]
    except RedisError as error:
        text = f"Runs wait in the database until it answers. {type(error).__name__}: {error}"
        return [Part("Queue", _SILENT, text)]


def _read_worker(client: Any, name: QueueName) -> Part:
    """Given a queue's name, return whether a worker takes from it (RQ's own registry)."""
    seen = [_read_heartbeat(client, key) for key in client.smembers(f"rq:workers:{name}")]
    now = timezone.now()
    alive = [at for at in seen if at is not None and now - at < SILENT]
    waiting = dispatch.list_waiting(name).count()
    text = f"{len(alive)} alive, {waiting} waiting."
    if not alive:
        return Part(f"Workers, {name}", _SILENT, f"{text} Look at the output of script/server.")
    return Part(f"Workers, {name}", _ANSWERS, text, max(alive))


def _read_heartbeat(client: Any, key: bytes) -> datetime | None:
    raw = client.hget(key, "last_heartbeat")
    if raw is None:
        return None
    try:
        return datetime.fromisoformat(raw.decode("ascii")).replace(tzinfo=UTC)
    except ValueError:
        return None


def _read_tick() -> Part:
    at = TickLease.objects.filter(name=tick.NAME).values_list("ticked_at", flat=True).first()
    if at is None or timezone.now() - at > SILENT:
        return Part(
            "Schedule", _SILENT, "No backup starts by itself. Look at the output of script/server.", at
        )
    return Part("Schedule", _ANSWERS, "Starts what is due, ends what was lost.", at)


def _read_versions() -> list[tuple[str, str]]:
    return [
        ("Hotfleet", __version__),
        ("restic", _read_restic()),
        ("Python", platform.python_version()),
        ("Django", django.get_version()),
        ("Database", _read_database()),
        ("Machine", f"{platform.node()}, {platform.system()} {platform.release()}, {platform.machine()}"),
    ]


def _read_restic() -> str:
    try:
        binary = engine.console_restic()
    except AgentError as error:
        return f"{error.message}. {error.remedy}"
    return f"{'.'.join(str(number) for number in binary.version)} at {binary.path}"


def _read_database() -> str:
    if connection.vendor == "sqlite":
        return f"SQLite {sqlite3.sqlite_version}"
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version")
        row = cursor.fetchone()
    return f"PostgreSQL {row[0] if row else ''}"
