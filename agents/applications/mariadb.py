"""MariaDB: BACKUP STAGE around a snapshot, mariadb-backup as a stream, or a dump."""

from __future__ import annotations

from agents.applications.contract import Application
from agents.applications.mysql_answers import parse_servers
from agents.applications.mysql_look import look_command
from agents.applications.mysql_session import READING, WRITING
from agents.applications.mysql_ways import Flavour, make_offers, make_recipe
from agents.applications.recipes import Ground, Offer, Patience, Recipe
from agents.commands import Command
from agents.facts import DeviceFacts, Instance


def _harmless(instance: Instance) -> tuple[str, ...]:
    # Measured on 10.11: reading holds nothing up, nor do changes where every table knows transactions.
    return (*READING, *(WRITING if instance.detail("other_tables") == "0" else ()))


def _notes(instance: Instance) -> tuple[str, ...]:
    if instance.detail("log_bin") != "ON":
        return ()
    # Without it: "Found 1 prepared transactions! It means that server was not shut down properly ..."
    note = (
        f"Start a restored copy of {instance.label} with the same log_bin as now: a transaction may be half "
        "in the binary log, and MariaDB refuses to start without it."
    )
    return (note,)


FLAVOUR = Flavour(
    label="MariaDB",
    # BACKUP STAGE came with it.
    oldest=(10, 4, 1),
    # https://mariadb.com/kb/en/storage-snapshots-and-backup-stage-commands/: START, BLOCK_COMMIT, the
    # snapshot, END, all in one connection; transactional and other tables and the binary log are then of one
    # moment.
    lock=(
        "backup stage start; backup stage block_commit; "
        "select concat('hotfleet note The binary log ends at GTID ', @@gtid_binlog_pos) "
        "where @@gtid_binlog_pos <> '';"
    ),
    unlock="backup stage end;",
    locked="BACKUP STAGE holds",
    freeze="commits wait for some 10 to 50 ms; reading goes on",
    harmless=_harmless,
    # https://mariadb.com/kb/en/full-backup-and-restore-with-mariadb-backup/: the copied files are made
    # consistent "to a point in time" by --prepare.
    program="backup",
    package="mariadb-backup",
    copying="commits wait for milliseconds",
    restore="Restore: mbstream -x into an empty directory, mariadb-backup --prepare, then start on it.",
    notes=_notes,
)


class MariaDb(Application):
    name = "mariadb"
    label = "MariaDB"

    def look(self, facts: DeviceFacts) -> Command | None:
        # Until 10.4 the server's program was called mysqld.
        return look_command(facts, ("mariadb", "mysql"))

    def parse(self, output: bytes, facts: DeviceFacts) -> tuple[Instance, ...]:
        return parse_servers(output, self.name, self.label)

    def offers(self, instance: Instance, ground: Ground, facts: DeviceFacts) -> tuple[Offer, ...]:
        return make_offers(FLAVOUR, instance, ground)

    def recipe(self, instance: Instance, method: str, patience: Patience, scratch: str) -> Recipe:
        return make_recipe(FLAVOUR, instance, method, patience)
