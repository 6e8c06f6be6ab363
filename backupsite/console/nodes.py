"""Adding a node, giving its place to another machine, removing it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.db import connection, transaction
from django.utils.text import slugify

from agents.commands import Secret
from agents.errors import LeaseLost, PlanRefused
from backupsite import environment, vault
from backupsite.accounts.audit import record
from backupsite.recovery.wal_models import WalStream
from backupsite.repositories import nodes
from backupsite.repositories.models import Node, Repository
from backupsite.repositories.nodes import CONSOLE
from backupsite.runs.closing import LOST, close
from backupsite.runs.dispatch import lock_turn
from backupsite.runs.models import Run
from backupsite.runs.states import State
from backupsite.web.visible import make_visible


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
    _refuse_unreachable(same_machine)
    slug = slugify(name)[:40]
    if not slug or slug == CONSOLE:
        raise PlanRefused(f"No node can be called {name!r}.")
    if Node.objects.filter(slug=slug).exists():
        raise PlanRefused(
            f"There is a node called {slug} already.",
            remedy=f"When its machine was lost, another one takes its place: --add {slug} --again.",
        )
    ticket, hashed = nodes.make_ticket()
    nodes.beat_console()
    Node.objects.create(slug=slug, name=name[:64], ticket=hashed)
    record(actor, "node.added", slug)
    return _write_told(slug, ticket)


@transaction.atomic
def add_again(node: Node, *, actor: str, same_machine: bool = False) -> str:
    """Let another machine join as this node, whose own was lost; return what it is told. What the old one
    holds is good for nothing from now on. Raise PlanRefused."""
    _refuse_unreachable(same_machine)
    ticket, hashed = nodes.make_ticket()
    nodes.beat_console()
    lock_out(node, actor=actor)
    Node.objects.filter(pk=node.pk).update(ticket=hashed)
    return _write_told(node.slug, ticket)


@transaction.atomic
def lock_out(node: Node, *, actor: Any) -> None:
    """Take the place of this node from its machine: it takes no more work, and what it works on ends as lost
    now. Raise PlanRefused for the console."""
    if node.slug == CONSOLE:
        raise PlanRefused("That is the console.")
    lock_turn()  # from here on nobody takes a run, so that none is overlooked
    _, unknown = nodes.make_ticket()
    Node.objects.filter(pk=node.pk).update(
        ticket=unknown, joined_at=None, heard_at=None, machine="", version=""
    )
    held = Run.objects.filter(state=State.RUNNING, worker__startswith=nodes.name_processes(node.slug))
    for run in held:
        try:
            close(Run.objects.filter(pk=run.pk, state=State.RUNNING, lease_token=run.lease_token), LOST)
        except LeaseLost:
            continue  # it has just ended by itself
    mine = WalStream.objects.filter(device__in=nodes.list_devices([node]).values("pk"))
    mine.update(holder="", lease_token="", lease_until=None)
    record(actor, "node.locked-out", node.slug, {"machine": node.machine})


def _refuse_unreachable(same_machine: bool) -> None:
    problem = "" if same_machine else why_unreachable()
    if problem:
        raise PlanRefused(problem, remedy="A node on this machine: --same-machine.")


def _write_told(slug: str, ticket: Secret) -> str:
    told = environment.Joined(
        node=slug,
        database_url=settings.DATABASE_URL or f"sqlite://{settings.HOTFLEET_HOME}/hotfleet.sqlite3",
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
