"""MariaDB: BACKUP STAGE around a snapshot, mariadb-backup as a stream, or a dump."""

from __future__ import annotations

from agents.applications import mysql_session
from agents.applications.contract import Application
from agents.applications.mysql_answers import parse_servers
from agents.applications.mysql_look import look_command
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
from agents.commands import Command
from agents.errors import PlanRefused
from agents.events import Consistency
from agents.facts import DeviceFacts, Instance

# BACKUP STAGE came with 10.4.1.
_OLDEST = (10, 4, 1)
# https://mariadb.com/kb/en/storage-snapshots-and-backup-stage-commands/: START, BLOCK_COMMIT, the snapshot,
# END, all in one connection; transactional and other tables and the binary log are then of one moment.
_LOCK = (
    "backup stage start; backup stage block_commit; "
    "select concat('hotfleet note The binary log ends at GTID ', @@gtid_binlog_pos) "
    "where @@gtid_binlog_pos <> '';"
)
_UNLOCK = "backup stage end;"


class MariaDb(Application):
    name = "mariadb"
    label = "MariaDB"

    def look(self, facts: DeviceFacts) -> Command | None:
        # Until 10.4 the server's program was called mysqld.
        return look_command(facts, ("mariadb", "mysql"))

    def parse(self, output: bytes, facts: DeviceFacts) -> tuple[Instance, ...]:
        return parse_servers(output, self.name, self.label)

    def offers(self, instance: Instance, ground: Ground, facts: DeviceFacts) -> tuple[Offer, ...]:
        if not instance.is_running or not instance.version:
            return ()
        offers = []
        no_snapshot = why_no_snapshot(instance, ground, _OLDEST)
        if not no_snapshot:
            reason = f"{ground.reason}, and BACKUP STAGE holds commits and the binary log meanwhile"
            freeze = "commits wait for some 10 to 50 ms; reading goes on"
            offers.append(
                Offer(SNAPSHOT, Consistency.APPLICATION, reason, freeze, "the space of what changes")
            )
        no_stream = why_no_program(instance, "backup", "mariadb-backup")
        if not no_stream:
            offers.append(_stream_offer(join_missing([no_snapshot])))
        if instance.detail("dump"):
            offers.append(dump_offer(instance, join_missing([no_snapshot, no_stream])))
        return tuple(offers)

    def recipe(self, instance: Instance, method: str, patience: Patience, scratch: str) -> Recipe:
        if method == SNAPSHOT:
            notes = (_restore_note(instance),) if instance.detail("log_bin") == "ON" else ()
            quiesce = _quiesce(instance, patience)
            return Recipe(SNAPSHOT, Consistency.APPLICATION, instance.places, quiesce=quiesce, notes=notes)
        if method == STREAM:
            note = "Restore: mbstream -x into an empty directory, mariadb-backup --prepare, then start on it."
            return Recipe(
                STREAM, Consistency.APPLICATION, streams=(_backup(instance, patience),), notes=(note,)
            )
        if method == DUMP:
            return Recipe(DUMP, dump_consistency(instance), streams=(dump_stream(instance),))
        raise PlanRefused(f"MariaDB is not backed up by {method!r}")


def _quiesce(instance: Instance, patience: Patience) -> Quiesce:
    client, socket = instance.detail("client"), instance.detail("socket")
    # Measured on 10.11: reading holds nothing up, nor do changes where every table knows transactions.
    writing = mysql_session.WRITING if instance.detail("other_tables") == "0" else ()
    return mysql_session.hold_session(
        instance.label,
        client,
        socket,
        patience,
        lock=_LOCK,
        unlock=_UNLOCK,
        before=mysql_session.refuse_long(
            client,
            socket,
            seconds=mysql_session.lock_wait_s(patience),
            harmless=(*mysql_session.READING, *writing),
        ),
    )


def _backup(instance: Instance, patience: Patience) -> Stream:
    # Not --ftwrl-wait-timeout: with it mariadb-backup 10.11 waits for a moment in which no statement changes
    # anything, which a busy server never has (measured: it fails then). Without it, it waits for ever.
    return watched_stream(
        "backup.xbstream",
        instance,
        max(1, patience.freeze_ms // 1000),
        instance.detail("backup"),
        "--backup",
        "--stream=xbstream",
        f"--socket={instance.detail('socket')}",
        "--open-files-limit=65535",
        "--target-dir=/nonexistent",
    )


def _stream_offer(missing: str) -> Offer:
    return Offer(
        STREAM,
        Consistency.APPLICATION,
        "mariadb-backup copies the files and what is written meanwhile",
        "commits wait for milliseconds; tables without transactions cannot be written while they are copied",
        "every byte is read at each run, and a restored copy must be prepared",
        missing,
    )


def _restore_note(instance: Instance) -> str:
    # Without it: "Found 1 prepared transactions! It means that server was not shut down properly ..."
    return (
        f"Start a restored copy of {instance.label} with the same log_bin as now: a transaction may be half "
        "in the binary log, and MariaDB refuses to start without it."
    )
