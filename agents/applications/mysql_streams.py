"""What MariaDB and MySQL share beside the lock: streams, dumps, and which method is offered."""

from __future__ import annotations

from collections.abc import Sequence

from agents.applications.mysql_session import client_words
from agents.applications.processes import BOUNDED
from agents.applications.recipes import DUMP, Ground, Offer, Stream
from agents.commands import Command, join
from agents.events import Consistency
from agents.facts import Instance

# The program tells each file on stderr: only the last lines are kept, and its own status. While it runs, the
# server is asked once a second how long a session of it waits for a lock. The server ends the session: the
# program ignores TERM then, and a session without its program would go on waiting, and others behind it.
_WATCHED = (
    BOUNDED
    + r"""
sql=$1
shift
tab=$(printf '\t')
ask() { bounded 5 {client} -e "$1" </dev/null 2>/dev/null; } # a statement
watch() { # the program's process id, the number of the last session before it
  while sleep 1 2>/dev/null && kill -s 0 "$1" 2>/dev/null; do
    waits=$(ask "$sql and id > $2 limit 1") || continue
    id=${waits%%"$tab"*}
    case $id in '' | *[!0-9]*) continue ;; esac
    echo "it waited ${waits#*"$tab"} s for a lock that another session does not let go"
    ask "kill connection $id"
    sleep 5 2>/dev/null
    kill -s KILL "$1" 2>/dev/null
    return
  done
}
before=$(ask 'select connection_id()')
case $before in '' | *[!0-9]*) echo 'the server does not answer' >&2; exit 1 ;; esac
exec 4>&1
status=$({ {
  "$@" 2>&3 >&4 3>&- 4>&- 5>&- &
  program=$!
  watch "$program" "$before" >&3 3>&- 4>&- 5>&- &
  watcher=$!
  wait "$program"
  echo "$?" >&5
  kill -s KILL "$watcher" 2>/dev/null
} 3>&1 | tail -n 15 >&2; } 5>&1)
exit "${status:-1}"
"""
)
_WAITING_SQL = (
    "select id, time from information_schema.processlist where command = 'Query' and time >= {seconds} and "
    "(info like 'backup stage%' or info like 'flush tables%' or info like 'lock %for backup')"
)


def watched_stream(name: str, instance: Instance, seconds: int, *words: str) -> Stream:
    """Given a backup program of the server's own, return its stream. It is ended, and fails, when it waits
    for a lock for so long."""
    client = join(client_words(instance.detail("client"), instance.detail("socket")))
    script = _WATCHED.replace("{client}", client)
    sql = _WAITING_SQL.format(seconds=seconds)
    return Stream(name, Command.of("/bin/sh", "-c", script, "hotfleet", sql, *words))


def dump_stream(instance: Instance, *more: str) -> Stream:
    """Return one dump of all databases: in one transaction, so that they fit together, which one dump a
    database would not."""
    words = (
        instance.detail("dump"), f"--socket={instance.detail('socket')}", "--all-databases", *more,
        "--single-transaction", "--quick", "--routines", "--events", "--triggers", "--hex-blob",
        "--flush-privileges", "--default-character-set=utf8mb4",
    )  # fmt: skip
    return Stream("all-databases.sql", Command.of(*words))


def dump_offer(instance: Instance, missing: str) -> Offer:
    """Return what a dump is worth. Tables without transactions change while it reads them."""
    cost = "restoring runs every statement again, which takes many times longer than copying files"
    freeze = "nothing is held; DDL on a table that was read waits until the end"
    if dump_consistency(instance) is Consistency.APPLICATION:
        reason = "every database is read in one transaction"
    else:
        count = instance.detail("other_tables")
        what = f"{count} tables that know none" if count else "tables that may know none (nobody could count)"
        reason = f"every database is read in one transaction, but {what} are read while they change"
    return Offer(DUMP, dump_consistency(instance), reason, freeze, cost, missing)


def dump_consistency(instance: Instance) -> Consistency:
    """A dump in one transaction shows one moment of tables that know transactions
    (https://mariadb.com/kb/en/mariadb-dump/, --single-transaction), of others it shows none."""
    return Consistency.APPLICATION if instance.detail("other_tables") == "0" else Consistency.NONE


def why_no_snapshot(instance: Instance, ground: Ground, oldest: tuple[int, ...]) -> str:
    """Return why no snapshot can be taken with the server held still, "" when it can."""
    if version_of(instance.version) < oldest:
        return f"{instance.label} {instance.version} is older than {'.'.join(map(str, oldest))}"
    if any(
        each.startswith(("It keeps InnoDB", "Its files lie")) or "leads to" in each
        for each in instance.problems
    ):
        return " ".join(instance.problems)
    return "" if ground.is_atomic else f"{ground.reason}. {ground.remedy}".strip()


def why_no_program(instance: Instance, name: str, package: str) -> str:
    """Return why the server's own backup program cannot be used: it must be of the server's series."""
    version = version_of(instance.detail(f"{name}-version"))
    if not instance.detail(name):
        return f"{package} is not installed. Install it on the device, in the version of the server."
    if version[:2] != version_of(instance.version)[:2]:
        said = instance.detail(f"{name}-version") or "an unknown version"
        return f"{package} is {said}, the server {instance.version}. Install the package of the same series."
    return ""


def version_of(text: str) -> tuple[int, ...]:
    """Given a dotted number, return its numbers; () for none."""
    return tuple(int(word) for word in text.split(".") if word.isascii() and word.isdigit())


def join_missing(reasons: Sequence[str]) -> str:
    """Given why better methods cannot be used, return it as one text."""
    return " ".join(f"{reason.rstrip('.')}." for reason in reasons if reason)
