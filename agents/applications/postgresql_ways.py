"""The commands by which PostgreSQL is backed up. Each runs as the owner of the data directory,
whose role needs no password on the server's own socket; none ever asks for one."""

from __future__ import annotations

import re

from agents.applications.postgresql_answers import names_of
from agents.applications.postgresql_copy import copy_words
from agents.applications.recipes import Quiesce, Stream
from agents.commands import Command, to_bytes
from agents.facts import Instance

# A method beside those that others have too: the low-level copy.
COPY = "copy"
# How long a checkpoint may take before the snapshot is taken without its end.
CHECKPOINT_S = 60
# How long a dump waits for a table that somebody holds (ACCESS EXCLUSIVE).
LOCK_WAIT_S = 60
_PLAIN = re.compile(rb"[A-Za-z0-9_][A-Za-z0-9_.-]*")

# The checkpoint only shortens the recovery after a restore: whatever becomes of it, the snapshot is as good.
_CHECKPOINT = r"""
why=$("$1" -X -q -w -d "$2" -c CHECKPOINT 2>&1 </dev/null) || {
  why=$(printf %s "$why" | tail -n 1)
  printf 'note The checkpoint before the snapshot failed (%s): a restore recovers longer.\n' "$why"
}
"""

# pg_basebackup to stdout must fetch the WAL at its end, and a busy server would have recycled it by then: a
# temporary slot keeps it. The slot dies with its session, whoever is killed here. psql tells no status of
# what it starts, so the end is confirmed in words.
_BASE_BACKUP = r"""
export base_backup="$2"
exec 4>&1
said=$("$1" -X -q -w -v ON_ERROR_STOP=1 -o /dev/null -d "$3" 3>&1 >&4 <<'END'
select set_config(name, '0', false) from pg_settings
where name in ('idle_session_timeout', 'statement_timeout');
select pg_create_physical_replication_slot('hotfleet_' || pg_backend_pid(), true, true);
\! "$base_backup" -D - -F tar -X fetch -c fast -w -l hotfleet 3>&- 4>&- </dev/null && printf whole >&3
END
) && [ "$said" = whole ]
"""


def make_checkpoint(instance: Instance) -> Quiesce:
    """Return what comes before a snapshot: nothing is held, the snapshot is atomic by itself."""
    limit = f"PGOPTIONS=-c statement_timeout={CHECKPOINT_S * 1000}"
    words = ("/bin/sh", "-c", _CHECKPOINT, "hotfleet", instance.detail("psql"), _asked_in(instance))
    return Quiesce(instance.label, ":", ":", ":", before=(as_owner(instance, limit, *words),))


def make_base_backup(instance: Instance) -> Stream:
    """Return the whole cluster as one tar, with the WAL that it needs."""
    programs = (instance.detail("psql"), instance.detail("pg_basebackup"), _asked_in(instance))
    return Stream("base.tar", as_owner(instance, "/bin/sh", "-c", _BASE_BACKUP, "hotfleet", *programs))


def make_file_copy(instance: Instance) -> Stream:
    """Return the whole cluster as one tar, wherever its files lie, with the WAL that it needs."""
    return Stream("cluster.tar", as_owner(instance, *copy_words(instance, _asked_in(instance))))


def make_dumps(instance: Instance) -> tuple[Stream, ...]:
    """Return the roles and tablespaces, then every database that lets somebody in, as pg_restore reads it.

    Not compressed: the repository does that, and finds what did not change."""
    wait = f"--lock-wait-timeout={LOCK_WAIT_S * 1000}"
    every = (instance.detail("pg_dumpall"), "--globals-only", "-w", wait, "-d", _asked_in(instance))
    streams = [Stream("globals.sql", as_owner(instance, *every))]
    for name in databases_of(instance):
        words = (
            instance.detail("pg_dump"),
            "-F",
            "custom",
            "-Z",
            "0",
            "-w",
            wait,
            "-d",
            make_connection(name),
        )
        streams.append(Stream(f"{make_file_name(name)}.dump", as_owner(instance, *words)))
    return tuple(streams)


def databases_of(instance: Instance) -> tuple[str, ...]:
    """Return the names of the databases that are dumped: the two templates of every cluster are not."""
    return tuple(name for name in names_of(instance, "database") if name not in ("template0", "template1"))


def make_file_name(name: str) -> str:
    """Given the name of a database, return one for a file: other letters as %XX, so that no two are alike."""
    data = to_bytes(name)
    if _PLAIN.fullmatch(data):
        return name
    plain = (bytes([each]) for each in data)
    return "".join(each.decode() if each.isalnum() or each == b"_" else f"%{each[0]:02X}" for each in plain)


def make_connection(database: str) -> str:
    """Given the name of a database, return a connection string: a bare name with "=" in it would be one."""
    escaped = database.replace("\\", "\\\\").replace("'", "\\'")
    return f"dbname='{escaped}'"


def _asked_in(instance: Instance) -> str:
    return make_connection(instance.detail("asked_in"))


def as_owner(instance: Instance, *words: str) -> Command:
    """Given variables and words, return them as a command of the owner, with the way to this server."""
    way = (f"PGHOST={instance.detail('socket')}", f"PGPORT={instance.detail('port')}", "HOME=/")
    us = ("PGAPPNAME=hotfleet", "PGCONNECT_TIMEOUT=10")
    return Command.of("runuser", "-u", instance.detail("owner"), "--", "env", *way, *us, *words)
