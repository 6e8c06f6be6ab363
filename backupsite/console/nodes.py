"""Adding a node, joining as one, and the beat by which it is heard."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection, transaction
from django.utils import timezone
from django.utils.text import slugify

from agents.commands import Secret
from agents.errors import PlanRefused
from backupsite import environment, vault
from backupsite.accounts.audit import record
from backupsite.alerts import notices
from backupsite.console import space_chore
from backupsite.processes import StopRequest
from backupsite.repositories import nodes
from backupsite.repositories.models import Node, Repository, Storage
from backupsite.repositories.nodes import CONSOLE
from backupsite.repositories.places import StorageRefused
from backupsite.repositories.storage import forget_marker, prepare_storage
from backupsite.web.visible import make_visible

log = logging.getLogger(__name__)

BEAT_S: Final = 10.0
MEASURE_EVERY: Final = 180
# From then on people are told of a silent node.
TOLD_AFTER: Final = timedelta(minutes=5)
# Leases are moments of the clock of who took them.
MOST_APART: Final = timedelta(seconds=5)


def why_unreachable() -> str:
    """Return why another machine could not use this console's database and queue, "" when it could."""
    if connection.vendor == "sqlite":
        return (
            "The database of this console is a file (SQLite). A node on another machine needs PostgreSQL: "
            "set DATABASE_URL to a server that both reach."
        )
    if _is_of_this_machine(str(settings.DATABASES["default"].get("HOST", ""))):
        return "DATABASE_URL names a server of this machine alone: write the address that the node reaches."
    if settings.VALKEY_SOCKET is not None or _is_of_this_machine(urlsplit(settings.REDIS_URL).hostname or ""):
        return "The queue is reached on this machine alone: set REDIS_URL to a Valkey that both reach."
    return ""


def _is_of_this_machine(host: str) -> bool:
    return not host or host.startswith(("/", "127.")) or host in ("localhost", "::1")


@transaction.atomic
def add(name: str, *, actor: str, same_machine: bool = False) -> str:
    """Make a node and return what its machine is told, as one line: with secrets. Raise PlanRefused."""
    slug = slugify(name)[:40]
    problem = "" if same_machine else why_unreachable()
    if problem:
        raise PlanRefused(problem, remedy="A node on this machine: --same-machine.")
    if not slug or Node.objects.filter(slug=slug).exists() or slug == CONSOLE:
        raise PlanRefused(f"There is a node called {name!r} already, or that is no name.")
    ticket, hashed = nodes.make_ticket()
    nodes.beat_console()
    Node.objects.create(slug=slug, name=name[:64], ticket=hashed)
    record(actor, "node.added", slug)
    home = settings.HOTFLEET_HOME
    told = environment.Joined(
        node=slug,
        database_url=settings.DATABASE_URL or f"sqlite://{home}/hotfleet.sqlite3",
        redis_url=settings.REDIS_URL,
        ticket=ticket.reveal(),
    )
    keys = [key.reveal() for key in vault.read_keys()]
    return json.dumps({"joined": asdict(told), "console": settings.CONSOLE_ID, "keys": keys})


@transaction.atomic
def remove(node: Node, *, actor: Any) -> None:
    """Forget a node; its workers stop. Raise PlanRefused while repositories lie on it."""
    count = Repository.objects.filter(storage__node=node).count()
    if node.slug == CONSOLE or count:
        lie = "1 repository lies" if count == 1 else f"{count} repositories lie"
        raise PlanRefused(f"{lie} on {make_visible(node.name)}." if count else "That is the console.")
    record(actor, "node.removed", node.slug, {"storages": [each.path for each in node.storages.all()]})
    node.storages.all().delete()
    node.delete()


def join(text: str, home: Path) -> str:
    """Given what `add` returned, make this empty home the node's; return its name. Raise PlanRefused."""
    if (home / environment.NODE_FILE).exists() or vault.has_private_key():
        raise PlanRefused(
            f"{home} is a console's or a node's already.", remedy="Name an empty HOTFLEET_HOME."
        )
    try:
        told = json.loads(text)
        joined = environment.Joined(**told["joined"])
        keys = [Secret(str(key)) for key in told["keys"]]
        console = str(told["console"])
    except (ValueError, KeyError, TypeError) as error:
        raise PlanRefused("That is not what `manage.py node add` printed.") from error
    vault.restore_keys(keys)
    environment.write_private(home / "console-id", console)
    environment.write_private(home / environment.NODE_FILE, json.dumps(asdict(joined)))
    return joined.node


def claim(storages: Iterable[str]) -> None:
    """Before the first work: take the place that the ticket is for, and make these directories storages.

    Raise NotThisNode or PlanRefused."""
    told = settings.HOTFLEET_JOINED
    if told.node == CONSOLE:
        raise PlanRefused("This is no node.", remedy="Join first: script/node --join.")
    _compare_clocks()
    if not told.is_claimed:
        kept = nodes.claim(told.node, Secret(told.ticket))
        text = json.dumps(asdict(replace(told, ticket=kept.reveal(), is_claimed=True)))
        environment.write_private(settings.HOTFLEET_HOME / environment.NODE_FILE, text)
        nodes.beat(told.node, kept)
    else:
        nodes.beat(told.node, Secret(told.ticket))
    for path in storages:
        _add_storage(path)


def _add_storage(text: str) -> None:
    node = Node.objects.get(slug=settings.HOTFLEET_NODE)
    if Storage.objects.filter(node=node, path=text).exists():
        return
    try:
        tested = prepare_storage(text, settings.HOTFLEET_HOME)
    except StorageRefused as error:
        raise PlanRefused(str(error)) from error
    try:
        with transaction.atomic():
            storage = Storage.objects.create(
                node=node, name=_name_storage(node, tested.path), path=str(tested.path),
                marker=tested.marker, total_bytes=tested.space.total_bytes,
                free_bytes=tested.space.free_bytes, tested_at=timezone.now(),
            )  # fmt: skip
            record(f"node {node.slug}", "storage.added", storage.path)
    except DatabaseError:
        forget_marker(tested)
        raise


def _name_storage(node: Node, path: Path) -> str:
    """Return a name that no storage has: the node's and the directory's, numbered where needed."""
    name = f"{node.slug}: {path.name[:16]}"
    taken = set(Storage.objects.filter(name__startswith=name).values_list("name", flat=True))
    return name if name not in taken else f"{name} {len(taken) + 1}"


def _compare_clocks() -> None:
    if connection.vendor == "sqlite":
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        (there,) = cursor.fetchone()
    apart = abs(there.astimezone(UTC) - datetime.now(UTC))
    if apart > MOST_APART:
        raise PlanRefused(
            f"The clock of this machine and that of the database are {apart.total_seconds():.0f} s apart.",
            remedy="Set both by NTP, then start the node again.",
        )


def run_beat() -> None:
    """Say every ten seconds that this node is there, until SIGTERM. Raise NotThisNode when it is removed."""
    stop = StopRequest()
    slug, ticket = settings.HOTFLEET_NODE, Secret(settings.HOTFLEET_JOINED.ticket)
    beats = 0
    while not stop.is_made:
        try:
            nodes.beat(slug, ticket)
            if beats % MEASURE_EVERY == 0:
                space_chore.measure()  # nothing, where it was done today
            beats += 1
        except (DatabaseError, InterfaceError) as error:
            log.warning("The database refuses the beat of node %s: %s", slug, error)
            connection.close_if_unusable_or_obsolete()
        stop.wait(BEAT_S)


def look(now: datetime) -> None:
    """A step of the tick: say which version the console is, and tell of nodes that are silent, once each."""
    if not (others := nodes.others()):
        return
    nodes.beat_console()
    for node in others:
        if node.heard_at is None or now - node.heard_at < TOLD_AFTER:
            continue
        count = nodes.list_devices([node]).count()
        notices.tell(
            "node",
            key=f"node-{node.pk}-{node.heard_at:%Y%m%d%H%M%S}",
            title=f"{make_visible(node.name)}: the node is silent",
            text=f"It was last heard on {node.heard_at:%Y-%m-%d %H:%M} UTC. Runs of its {count} devices "
            "wait; those of other nodes go on. Look at its machine and at script/node there.",
            url="/repositories/nodes/",
        )
