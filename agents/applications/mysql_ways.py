"""How a MariaDB or a MySQL server is backed up: what is the same for both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agents.applications.mysql_session import hold_session, lock_wait_s, refuse_long
from agents.applications.mysql_streams import (
    dump_consistency,
    dump_offer,
    dump_stream,
    join_missing,
    watched_stream,
    why_no_program,
    why_no_snapshot,
)
from agents.applications.recipes import (
    DUMP,
    SNAPSHOT,
    STREAM,
    Ground,
    Offer,
    Patience,
    Quiesce,
    Recipe,
    Stream,
)
from agents.errors import PlanRefused
from agents.events import Consistency
from agents.facts import Instance


@dataclass(frozen=True, slots=True)
class Flavour:
    """What tells the two apart.

    `lock` and `unlock` are SQL, `locked` says in a sentence what they do, `freeze` what to expect of it; a
    statement whose first word is `harmless` does not keep the lock waiting. `program` is the detail that
    holds the path of the server's own backup program, `package` its name for people, `copying` what waits
    for it, `restore` how its stream is put back. `notes` are those of a snapshot."""

    label: str
    oldest: tuple[int, ...]
    lock: str
    unlock: str
    locked: str
    freeze: str
    harmless: Callable[[Instance], tuple[str, ...]]
    program: str
    package: str
    copying: str
    restore: str
    notes: Callable[[Instance], tuple[str, ...]] = lambda instance: ()


def make_offers(flavour: Flavour, instance: Instance, ground: Ground) -> tuple[Offer, ...]:
    """Given an instance and the file systems below it, return the hot methods that work now, best first."""
    if not instance.is_running or not instance.version:
        return ()
    offers = []
    no_snapshot = why_no_snapshot(instance, ground, flavour.oldest)
    if not no_snapshot:
        reason = f"{ground.reason}, and {flavour.locked} commits and the binary log meanwhile"
        cost = "the space of what changes"
        offers.append(Offer(SNAPSHOT, Consistency.APPLICATION, reason, flavour.freeze, cost))
    no_stream = why_no_program(instance, flavour.program, flavour.package)
    if not no_stream:
        reason = f"{flavour.package} copies the files and what is written meanwhile"
        freeze = f"{flavour.copying}; tables without transactions cannot be written while they are copied"
        cost = "every byte is read at each run, and a restored copy must be prepared"
        missing = join_missing([no_snapshot])
        offers.append(Offer(STREAM, Consistency.APPLICATION, reason, freeze, cost, missing))
    if instance.detail("dump"):
        offers.append(dump_offer(instance, join_missing([no_snapshot, no_stream])))
    return tuple(offers)


def make_recipe(flavour: Flavour, instance: Instance, method: str, patience: Patience) -> Recipe:
    """Given a method that was offered, return how it goes. Raise PlanRefused for any other."""
    if method == SNAPSHOT:
        quiesce = _hold(flavour, instance, patience)
        return Recipe(
            SNAPSHOT,
            Consistency.APPLICATION,
            paths=instance.places,
            quiesce=quiesce,
            notes=flavour.notes(instance),
        )
    if method == STREAM:
        stream = _copy(flavour, instance, patience)
        return Recipe(STREAM, Consistency.APPLICATION, streams=(stream,), notes=(flavour.restore,))
    if method == DUMP:
        return Recipe(DUMP, dump_consistency(instance), streams=(dump_stream(instance),))
    raise PlanRefused(f"{flavour.label} is not backed up by {method!r}")


def _hold(flavour: Flavour, instance: Instance, patience: Patience) -> Quiesce:
    client, socket = instance.detail("client"), instance.detail("socket")
    before = refuse_long(client, socket, seconds=lock_wait_s(patience), harmless=flavour.harmless(instance))
    return hold_session(
        instance.label, client, socket, patience, lock=flavour.lock, unlock=flavour.unlock, before=before
    )


def _copy(flavour: Flavour, instance: Instance, patience: Patience) -> Stream:
    # Not --ftwrl-wait-timeout: with it mariadb-backup 10.11 waits for a moment in which no statement changes
    # anything, which a busy server never has (measured: it fails then). Without it, it waits for ever.
    return watched_stream(
        "backup.xbstream",
        instance,
        max(1, patience.freeze_ms // 1000),
        instance.detail(flavour.program),
        "--backup",
        "--stream=xbstream",
        f"--socket={instance.detail('socket')}",
        "--open-files-limit=65535",
        "--target-dir=/nonexistent",
    )
