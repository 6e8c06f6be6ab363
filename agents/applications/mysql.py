"""MySQL 8: a global read lock around a snapshot, xtrabackup as a stream, or a dump.

Not exercised: no MySQL runs on the machines of the tests. It is built like MariaDB's, which is.
"""

from __future__ import annotations

from agents.applications.contract import Application
from agents.applications.mysql_answers import parse_servers
from agents.applications.mysql_look import look_command
from agents.applications.mysql_ways import Flavour, make_offers, make_recipe
from agents.applications.recipes import Ground, Offer, Patience, Recipe
from agents.commands import Command
from agents.facts import DeviceFacts, Instance

FLAVOUR = Flavour(
    label="MySQL",
    # REGEXP_REPLACE, which looks for long statements, came with 8.0.4; 5.7 is not supported by anybody any
    # more.
    oldest=(8, 0, 11),
    # https://dev.mysql.com/doc/refman/8.0/en/flush.html#flush-tables-with-read-lock: closes every table and
    # holds a global read lock until the session unlocks; commits wait. LOCK INSTANCE FOR BACKUP would block
    # DDL only.
    lock="flush tables with read lock; select concat('hotfleet note The GTIDs: ', @@global.gtid_executed);",
    unlock="unlock tables;",
    locked="a global read lock holds",
    freeze="commits wait for some 10 to 100 ms; no statement may be older than the lock's patience",
    # The lock waits for every statement that runs, whatever it does.
    harmless=lambda instance: ("do", "show", "set"),
    # https://docs.percona.com/percona-xtrabackup/8.0/how-xtrabackup-works.html: a crash recovery against the
    # copied log (--prepare) makes the copied files consistent.
    program="xtrabackup",
    package="percona-xtrabackup",
    copying="DDL waits",
    restore="Restore: xbstream -x into an empty directory, xtrabackup --prepare, then start on it.",
)


class MySql(Application):
    name = "mysql"
    label = "MySQL"

    def look(self, facts: DeviceFacts) -> Command | None:
        return look_command(facts, ("mysql",))

    def parse(self, output: bytes, facts: DeviceFacts) -> tuple[Instance, ...]:
        return parse_servers(output, self.name, self.label)

    def offers(self, instance: Instance, ground: Ground, facts: DeviceFacts) -> tuple[Offer, ...]:
        return make_offers(FLAVOUR, instance, ground)

    def recipe(self, instance: Instance, method: str, patience: Patience, scratch: str) -> Recipe:
        return make_recipe(FLAVOUR, instance, method, patience)
