"""MySQL 8: a global read lock around a snapshot, xtrabackup as a stream, or a dump.

Not exercised: no MySQL runs on the machines of the tests. It is built like MariaDB's, which is.
"""

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
from agents.applications.recipes import DUMP, SNAPSHOT, STREAM, Ground, Offer, Patience, Recipe
from agents.commands import Command
from agents.errors import PlanRefused
from agents.events import Consistency
from agents.facts import DeviceFacts, Instance

# REGEXP_REPLACE, which looks for long statements, came with 8.0.4; 5.7 is not supported by anybody any more.
_OLDEST = (8, 0, 11)
# https://dev.mysql.com/doc/refman/8.0/en/flush.html#flush-tables-with-read-lock: closes every table and holds
# a global read lock until the session unlocks; commits wait. LOCK INSTANCE FOR BACKUP would block DDL only.
_LOCK = "flush tables with read lock; select concat('hotfleet note The GTIDs: ', @@global.gtid_executed);"
_UNLOCK = "unlock tables;"


class MySql(Application):
    name = "mysql"
    label = "MySQL"

    def look(self, facts: DeviceFacts) -> Command | None:
        return look_command(facts, ("mysql",))

    def parse(self, output: bytes, facts: DeviceFacts) -> tuple[Instance, ...]:
        return parse_servers(output, self.name, self.label)

    def offers(self, instance: Instance, ground: Ground, facts: DeviceFacts) -> tuple[Offer, ...]:
        if not instance.is_running or not instance.version:
            return ()
        offers = []
        no_snapshot = why_no_snapshot(instance, ground, _OLDEST)
        if not no_snapshot:
            reason = f"{ground.reason}, and a global read lock holds commits and the binary log meanwhile"
            freeze = "commits wait for some 10 to 100 ms; no statement may be older than the lock's patience"
            offers.append(
                Offer(SNAPSHOT, Consistency.APPLICATION, reason, freeze, "the space of what changes")
            )
        no_stream = why_no_program(instance, "xtrabackup", "percona-xtrabackup")
        if not no_stream:
            reason = "xtrabackup copies the files and what is written meanwhile"
            freeze = "DDL waits; tables without transactions cannot be written while they are copied"
            cost = "every byte is read at each run, and a restored copy must be prepared"
            missing = join_missing([no_snapshot])
            offers.append(Offer(STREAM, Consistency.APPLICATION, reason, freeze, cost, missing))
        if instance.detail("dump"):
            offers.append(dump_offer(instance, join_missing([no_snapshot, no_stream])))
        return tuple(offers)

    def recipe(self, instance: Instance, method: str, patience: Patience, scratch: str) -> Recipe:
        client, socket = instance.detail("client"), instance.detail("socket")
        if method == SNAPSHOT:
            # the lock waits for every statement that runs, whatever it does
            seconds = mysql_session.lock_wait_s(patience)
            before = mysql_session.refuse_long(
                client, socket, seconds=seconds, harmless=("do", "show", "set")
            )
            quiesce = mysql_session.hold_session(
                instance.label, client, socket, patience, lock=_LOCK, unlock=_UNLOCK, before=before
            )
            return Recipe(SNAPSHOT, Consistency.APPLICATION, instance.places, quiesce=quiesce)
        if method == STREAM:
            words = (instance.detail("xtrabackup"), "--backup", "--stream=xbstream", f"--socket={socket}")
            more = ("--open-files-limit=65535", "--target-dir=/nonexistent")
            seconds = max(1, patience.freeze_ms // 1000)
            stream = watched_stream("backup.xbstream", instance, seconds, *words, *more)
            note = "Restore: xbstream -x into an empty directory, xtrabackup --prepare, then start on it."
            return Recipe(STREAM, Consistency.APPLICATION, streams=(stream,), notes=(note,))
        if method == DUMP:
            return Recipe(DUMP, dump_consistency(instance), streams=(dump_stream(instance),))
        raise PlanRefused(f"MySQL is not backed up by {method!r}")
