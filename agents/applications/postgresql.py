"""PostgreSQL: an atomic snapshot, else a stream of the whole cluster, else a copy of its files wherever they
lie, else a dump of every database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from agents.applications.contract import Application
from agents.applications.postgresql_answers import APPLICATION, names_of, parse_clusters
from agents.applications.postgresql_look import make_look
from agents.applications.postgresql_ways import (
    COPY,
    LOCK_WAIT_S,
    databases_of,
    make_base_backup,
    make_checkpoint,
    make_dumps,
    make_file_copy,
)
from agents.applications.recipes import DUMP, SNAPSHOT, STREAM, Ground, Offer, Patience, Recipe
from agents.applications.work import TRANSACTION_MS, TRANSACTIONS_S, find_rise, find_seconds
from agents.commands import Command
from agents.errors import PlanRefused
from agents.events import Consistency
from agents.facts import DeviceFacts, Instance
from agents.facts.mounts import is_within

# A temporary slot with reserved WAL came with 10.
_STREAMS_SINCE = 10
_SPECIAL = str.maketrans({letter: f"\\{letter}" for letter in "*?[\\"})


class PostgreSql(Application):
    """A cluster of databases is one instance: its files hold all of them."""

    name = APPLICATION
    label = "PostgreSQL"

    def look(self, facts: DeviceFacts) -> Command | None:
        is_hinted = any(seen.application == APPLICATION for seen in facts.databases)
        return make_look() if is_hinted else None

    def parse(self, output: bytes, facts: DeviceFacts) -> tuple[Instance, ...]:
        return parse_clusters(output, facts)

    def offers(self, instance: Instance, ground: Ground, facts: DeviceFacts) -> tuple[Offer, ...]:
        if not instance.is_running or not instance.detail("asked_in"):
            return ()
        lacks: list[str] = []
        offers: list[Offer] = []
        for why_not, make in (
            (_why_no_snapshot(instance, ground), _offer_snapshot),
            (_why_no_stream(instance), _offer_stream),
            (_why_no_copy(instance), _offer_copy),
            (_why_no_dump(instance), _offer_dump),
        ):
            if why_not:
                lacks.append(why_not)
            else:
                offers.append(make(instance, ground, " ".join(lacks)))
        return tuple(offers)

    def recipe(self, instance: Instance, method: str, patience: Patience, scratch: str) -> Recipe:
        if method == SNAPSHOT:
            may_checkpoint = "yes" in (instance.detail("may_checkpoint"), instance.detail("is_superuser"))
            return Recipe(
                SNAPSHOT,
                # PostgreSQL documentation, "File System Level Backup": a frozen snapshot of all volumes at
                # once is valid, WAL included; the server recovers from it as after a crash.
                Consistency.APPLICATION,
                paths=instance.places,
                excludes=_excludes(instance),
                quiesce=make_checkpoint(instance) if may_checkpoint else None,
                notes=_notes(instance),
            )
        if method == STREAM:
            # Same, "Making a Base Backup": with the WAL up to its end it is consistent once that is replayed.
            stream = (make_base_backup(instance),)
            return Recipe(STREAM, Consistency.APPLICATION, streams=stream, notes=_notes(instance))
        if method == COPY:
            # Same, "Making a Base Backup Using the Low-Level API": as above, made by whoever asks for it.
            copy = (make_file_copy(instance),)
            return Recipe(COPY, Consistency.APPLICATION, streams=copy, notes=_notes_of_copy(instance))
        if method == DUMP:
            # Same, "SQL Dump": a dump shows its database as it was at the moment at which it began.
            streams = make_dumps(instance)
            return Recipe(DUMP, Consistency.APPLICATION, streams=streams, notes=_notes_of_dump(instance))
        raise PlanRefused(f"PostgreSQL is not backed up by {method!r}")

    def work(self, earlier: Instance, later: Instance) -> Mapping[str, float]:
        seconds = find_seconds(earlier, later, clock="counted_at", started="started_at")
        transactions = find_rise(earlier, later, "transactions")
        if seconds is None or transactions is None:
            return {}
        # PostgreSQL 14 and later say for how long statements ran: not what idle transactions waited for.
        active_ms = find_rise(earlier, later, "active_ms")
        did = {TRANSACTIONS_S: transactions / seconds}
        if active_ms is not None and transactions:
            did[TRANSACTION_MS] = active_ms / transactions
        return did

    def cold(self, instance: Instance, facts: DeviceFacts) -> Recipe:
        recipe = super().cold(instance, facts)
        return replace(
            recipe,
            # However it ended: what holds for the files of one instant holds for those of one that stands.
            consistency=Consistency.APPLICATION,
            excludes=_excludes(instance),
            notes=_notes(instance),
        )


def _offer_snapshot(instance: Instance, ground: Ground, lacks: str) -> Offer:
    missing = ""
    if "yes" not in (instance.detail("may_checkpoint"), instance.detail("is_superuser")):
        missing = f"Recovery would be shorter after: GRANT pg_checkpoint TO {instance.detail('role')}."
    return Offer(
        SNAPSHOT,
        Consistency.APPLICATION,
        f"{ground.reason}, its WAL too: PostgreSQL recovers from it as after a power cut",
        freeze="nothing is held; who writes waits some milliseconds for the file system",
        cost="one CHECKPOINT before, and the space of what changes until the snapshot is stored",
        missing=missing,
    )


def _offer_stream(instance: Instance, ground: Ground, lacks: str) -> Offer:
    size = instance.detail("size_bytes")
    read = f"{int(size) / 1e6:,.0f} MB are" if size else "everything is"
    return Offer(
        STREAM,
        Consistency.APPLICATION,
        "pg_basebackup copies the running cluster with the WAL that makes it whole",
        freeze="nothing is held",
        cost=f"an immediate checkpoint; {read} read each time; WAL is kept until the end by a temporary slot",
        missing=lacks,
    )


def _offer_copy(instance: Instance, ground: Ground, lacks: str) -> Offer:
    size = instance.detail("size_bytes")
    read = f"{int(size) / 1e6:,.0f} MB are" if size else "everything is"
    reason = "the files of the running cluster are copied, with the WAL that makes them whole"
    if names_of(instance, "tablespace"):
        reason += ", wherever its tablespaces lie"
    elif not _why_no_stream(instance):
        reason += "; the stream does the same by PostgreSQL's own program"
    return Offer(
        COPY,
        Consistency.APPLICATION,
        reason,
        freeze="nothing is held",
        cost=f"an immediate checkpoint; {read} read each time; WAL is kept until the end by a temporary slot",
        missing=lacks,
    )


def _offer_dump(instance: Instance, ground: Ground, lacks: str) -> Offer:
    count = len(databases_of(instance))
    return Offer(
        DUMP,
        Consistency.APPLICATION,
        f"pg_dump shows each of {count} databases at one moment of its own, and fits other versions",
        freeze="nothing is held, but a change of a schema waits until its database is dumped",
        cost="every table is read through the server, and a restore builds every index again",
        missing=lacks,
    )


def _why_no_snapshot(instance: Instance, ground: Ground) -> str:
    if not ground.is_atomic:
        return f"No snapshot: {ground.reason}. {ground.remedy}".strip()
    if instance.detail("full_page_writes") != "on":
        return "No snapshot: full_page_writes is off, so it might hold half a page. Turn it on."
    return ""


def _why_no_stream(instance: Instance) -> str:
    """pg_basebackup writes one tablespace to stdout, and no more."""
    if not instance.detail("psql") or not instance.detail("pg_basebackup"):
        return "No stream: pg_basebackup is missing. Install PostgreSQL's client programs."
    if names_of(instance, "tablespace"):
        return "No stream: the cluster has tablespaces, and pg_basebackup streams only one without."
    if int(instance.version.partition(".")[0]) < _STREAMS_SINCE:
        return f"No stream: PostgreSQL {instance.version} has no temporary slots. Version 10 has."
    if instance.detail("replication") != "yes":
        why = instance.detail("replication")
        return f"No stream: replication is refused ({why}). Allow it in pg_hba.conf and by max_wal_senders."
    if instance.detail("may_replicate") != "yes":
        return f"No stream: ALTER ROLE {instance.detail('role')} REPLICATION is missing."
    if instance.detail("max_replication_slots") == "0":
        return "No stream: max_replication_slots is 0, so nothing would keep the WAL. Allow one."
    return ""


def _why_no_copy(instance: Instance) -> str:
    if not instance.places:
        return "No copy: nobody knows where all of its files lie."
    if int(instance.version.partition(".")[0]) < _STREAMS_SINCE:
        return f"No copy: PostgreSQL {instance.version} has no temporary slots. Version 10 has."
    if instance.detail("is_superuser") != "yes":
        return f"No copy: the role {instance.detail('role')} is no superuser."
    if instance.detail("tools") != "yes":
        return f"No copy: {instance.detail('tools')}. Install them."
    if instance.detail("wal_level") == "minimal" or instance.detail("max_replication_slots") == "0":
        return "No copy: nothing would keep the WAL. Set wal_level to replica and allow a replication slot."
    return ""


def _why_no_dump(instance: Instance) -> str:
    if not instance.detail("pg_dump") or not instance.detail("pg_dumpall"):
        return "No dump: pg_dump is missing. Install PostgreSQL's client programs."
    if instance.detail("is_superuser") != "yes":
        return f"No dump: the role {instance.detail('role')} is no superuser."
    return ""


def _excludes(instance: Instance) -> tuple[str, ...]:
    """Only what names the process that wrote it: a new server must not take it for a living one.

    Nothing else may be missing from a snapshot: what a base backup leaves out (slots, pg_subtrans...) is
    part of the cluster here, or the server empties it itself."""
    data = instance.detail("data").translate(_SPECIAL)
    return (f"{data}/postmaster.pid", f"{data}/postmaster.opts")


def _notes(instance: Instance) -> tuple[str, ...]:
    notes = [*_notes_of_config(instance)]
    data = instance.detail("data")
    elsewhere = [place for place in instance.places if not is_within(place, data)]
    if elsewhere:
        # A copy that is started beside the original would write into the files of the original.
        notes.append(
            f"its links lead to {', '.join(elsewhere)}: "
            "lead those of a restored copy to folders of its own before you start it"
        )
    return (*notes, *_notes_of_standby(instance))


def _notes_of_config(instance: Instance) -> Iterator[str]:
    config = instance.detail("config_file").rpartition("/")[0]
    if config and config != instance.detail("data"):
        yield f"its configuration is not part of it: back up {config} as files"


def _notes_of_standby(instance: Instance) -> Iterator[str]:
    if instance.detail("is_standby") == "yes":
        yield "it is a standby: restored, it follows its primary until standby.signal is removed"


def _notes_of_copy(instance: Instance) -> tuple[str, ...]:
    notes = [*_notes_of_config(instance)]
    if names_of(instance, "tablespace"):
        notes.append(
            "restored, its tablespaces lie in the folder tablespaces beside data until you move them"
        )
    return (*notes, *_notes_of_standby(instance))


def _notes_of_dump(instance: Instance) -> tuple[str, ...]:
    notes = [
        "each database is a restore point of its own moment, and the roles one more (globals.sql)",
        f"a table that somebody locks for more than {LOCK_WAIT_S} s fails the dump",
    ]
    closed = [name for name in names_of(instance, "closed_database") if name != "template0"]
    if closed:
        notes.append(f"{len(closed)} databases let nobody in and are not dumped")
    return tuple(notes)
