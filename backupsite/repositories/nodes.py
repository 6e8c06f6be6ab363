"""Nodes: whose storage is whose, and who is heard. The console's machine is the first one, always there."""

from __future__ import annotations

import hashlib
import secrets
import socket
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils import timezone

from agents.commands import Secret
from agents.errors import AgentError
from backupsite import __version__, clock
from backupsite.fleet.models import Device
from backupsite.repositories.default_storage import find_default
from backupsite.repositories.models import Node, Storage

CONSOLE: Final = "console"
# A node says every ten seconds that it is there; who is not heard for so long is taken for dead.
SILENT: Final = timedelta(seconds=60)


class NotThisNode(AgentError):
    """This process is not, or not any more, the node that it says."""

    code = "not-this-node"


def others() -> list[Node]:
    """Return all nodes but the console's machine. Runs one query."""
    return list(Node.objects.exclude(slug=CONSOLE).order_by("slug"))


def is_here(storage: Storage) -> bool:
    """Given a storage, return whether this process can reach it: a directory belongs to one machine."""
    return storage.kind != Storage.DIRECTORY or storage.node.slug == settings.HOTFLEET_NODE


def may_copy(first: Storage, second: Storage) -> bool:
    """Given where a repository lies and where its second copy would, return whether the machine that works on
    the first one reaches the second."""
    return second.kind != Storage.DIRECTORY or second.node_id == first.node_id


def find_storage_for(device: Device) -> Storage | None:
    """Return the storage of a new repository of this device: the default, but for the console's own machine
    the first one that it reaches, when the default lies on another node. None: there is none."""
    default = find_default()
    is_far = default is not None and default.kind == Storage.DIRECTORY and default.node.slug != CONSOLE
    if not device.is_local or not is_far:
        return default
    reached = Storage.objects.filter(~Q(kind=Storage.DIRECTORY) | Q(node__slug=CONSOLE))
    return reached.order_by("pk").first()


def list_here() -> QuerySet[Storage]:
    """Return the storages whose node this process works for."""
    return Storage.objects.filter(node__slug=settings.HOTFLEET_NODE)


def list_devices(nodes: list[Node]) -> QuerySet[Device]:
    """Return the devices that these nodes (not the console's) work for: their repository lies there, or will.
    The console's own machine is worked for by itself. Runs one query now."""
    lives = Q(repository__storage__node__in=[node.pk for node in nodes])
    default = find_default()
    if default is not None and default.node_id in {node.pk for node in nodes}:
        lives |= Q(repository=None)
    return Device.objects.filter(lives).exclude(reach=Device.LOCAL).order_by()


def list_devices_of(node: Node) -> QuerySet[Device]:
    """Return the devices that a node works for, the console's too, but for the console's own machine. Runs
    one query now."""
    if node.slug != CONSOLE:
        return list_devices([node])
    theirs = list_devices(others())
    return Device.objects.exclude(pk__in=theirs.values("pk")).exclude(reach=Device.LOCAL).order_by()


def list_silent(now: datetime) -> QuerySet[Device]:
    """Return the devices whose node is silent: what waits for it takes nobody else's place. Runs one query,
    one more for each other node, and one when a node is silent."""
    silent = [node for node in others() if not is_heard(node, now)]
    return list_devices(silent) if silent else Device.objects.none()


def list_elsewhere() -> QuerySet[Device]:
    """Return the devices that another node works for than this process's."""
    if settings.HOTFLEET_NODE == CONSOLE:
        nodes = others()
        return list_devices(nodes) if nodes else Device.objects.none()
    mine = list_devices([node for node in others() if node.slug == settings.HOTFLEET_NODE])
    return Device.objects.exclude(pk__in=mine.values("pk"))


def find_node_of(device: Device) -> str:
    """Given a device, return the short name of the node that works for it. Runs one query, three when there
    are other nodes."""
    for node in others():
        if list_devices([node]).filter(pk=device.pk).exists():
            return node.slug
    return CONSOLE


def is_heard(node: Node, now: datetime) -> bool:
    """Given the time of this machine, return whether a node has said lately that it is there. The console
    asks, so it is. Runs one query for others: they say it by the database's clock."""
    if node.slug == CONSOLE or node.heard_at is None:
        return node.slug == CONSOLE
    return now + clock.offset() - node.heard_at < SILENT


def is_known() -> bool:
    """Return whether this process may work for its node: it was not removed, nor given to another machine.
    Runs one query, none on the console."""
    if settings.HOTFLEET_NODE == CONSOLE:
        return True
    hashed = hash_ticket(Secret(settings.HOTFLEET_JOINED.ticket))
    return Node.objects.filter(slug=settings.HOTFLEET_NODE, ticket=hashed, joined_at__isnull=False).exists()


def make_ticket() -> tuple[Secret, str]:
    """Return a new secret with which one machine is a node, and the hash of it that the row keeps."""
    secret = Secret(secrets.token_urlsafe(32))
    return secret, hash_ticket(secret)


def hash_ticket(secret: Secret) -> str:
    """Return the hash of a ticket: of 256 random bits, a fast one will do."""
    return hashlib.sha256(secret.reveal().encode()).hexdigest()


def claim(slug: str, ticket: Secret) -> Secret:
    """Given the ticket of a join file, make this machine the node, once; return the ticket that it keeps.

    Raise NotThisNode when another machine was first, or the node was removed or added anew."""
    kept, hashed = make_ticket()
    rows = Node.objects.filter(slug=slug, ticket=hash_ticket(ticket), joined_at=None)
    if not rows.update(ticket=hashed, joined_at=timezone.now(), machine=socket.gethostname()[:64]):
        raise NotThisNode(
            f"This join file of the node {slug} was used before, or the node was removed.",
            remedy=f"On the console: script/node --add {slug} --again, for this one in place of the other.",
        )
    return kept


def beat(slug: str, ticket: Secret) -> None:
    """Say that a node is there. Raise NotThisNode when it was removed or the console's version is another."""
    rows = Node.objects.filter(slug=slug, ticket=hash_ticket(ticket), joined_at__isnull=False)
    if not rows.update(heard_at=clock.now(), version=__version__):
        raise NotThisNode(
            f"The console does not know this machine as the node {slug} any more: it was removed, or another "
            "machine was given its place.",
            remedy=f"On the console: script/node --add {slug} --again. Join with what that prints, in an "
            "empty HOTFLEET_HOME.",
        )
    console = Node.objects.filter(slug=CONSOLE).values_list("version", flat=True).first()
    if console and console != __version__:
        raise NotThisNode(
            f"This node is Hotfleet {__version__}, the console is {console}.",
            remedy="Install the console's version here, and start the node again.",
        )


def beat_console() -> None:
    """Say which version the console is: its nodes must be the same."""
    Node.objects.filter(slug=CONSOLE).update(heard_at=clock.now(), version=__version__)


def name_process(pid: int) -> str:
    """Return how a process of this node is named: two machines of the same name differ by their node."""
    if settings.HOTFLEET_NODE == CONSOLE:
        return f"{socket.gethostname()[:48]}:{pid}"
    return f"{name_processes(settings.HOTFLEET_NODE)}{pid}"


def name_processes(slug: str) -> str:
    """Given a node that is not the console's machine, return how the names of its processes begin."""
    return f"{slug}@"
