"""Joining as a node: this machine takes its place, once, and its directories become storages."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import Final

from django.conf import settings
from django.db import DatabaseError, transaction
from django.utils import timezone

from agents.commands import Secret
from agents.errors import PlanRefused
from backupsite import clock, environment, vault
from backupsite.accounts.audit import record
from backupsite.repositories import nodes
from backupsite.repositories.models import Node, Storage
from backupsite.repositories.nodes import CONSOLE
from backupsite.repositories.places import StorageRefused
from backupsite.repositories.storage import StorageMissing, forget_marker, prepare_storage, require_storage

# What a person reads of times is of the machine that wrote them.
MOST_APART: Final = timedelta(seconds=5)


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

    Raise NotThisNode, PlanRefused, or StorageMissing of a directory that was one and is not there."""
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
    known = Storage.objects.filter(node=node, path=text).first()
    if known is not None:
        _look_into(known)
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


def _look_into(storage: Storage) -> None:
    """A machine that takes the place of another one may have another disk there."""
    try:
        require_storage(storage)
    except StorageMissing as error:
        raise StorageMissing(
            error.message,
            remedy=f"{error.remedy} When it is lost for good, name another directory: the repositories "
            "that lay there stay lost.",
        ) from error


def _compare_clocks() -> None:
    apart = clock.apart()
    if apart > MOST_APART:
        raise PlanRefused(
            f"The clock of this machine and that of the database are {apart.total_seconds():.0f} s apart.",
            remedy="Set both by NTP, then start the node again.",
        )
