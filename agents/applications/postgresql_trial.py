"""PostgreSQL is tried: the restored cluster is started with our configuration, and every table is compared
with its indexes. A dump is restored into a new cluster. The shell of it is `postgresql_trial.sh`.

What a superuser of the cluster set for roles and databases (session_preload_libraries...) is overruled in
each of our sessions. Functions and triggers of its databases can run when they are asked; libraries of
extensions are the machine's own.
"""

from __future__ import annotations

from collections.abc import Sequence

from agents.applications.postgresql_ways import COPY, make_connection
from agents.applications.recipes import DUMP, STREAM
from agents.applications.stored import Stored
from agents.applications.trials import (
    DAY_S,
    OURS,
    ROOM,
    UNSEEN,
    OurFile,
    Question,
    Step,
    Trial,
    TrialMaker,
    answers,
    call,
    place_of,
    places_of,
    shell_file,
)
from agents.commands import quote

# What could be said elsewhere is said here: the cluster's own files are removed.
_CONFIG = f"""\
listen_addresses = ''
port = 5432
unix_socket_directories = '{ROOM}/socket'
hba_file = '{OURS}/pg_hba.conf'
ident_file = '{OURS}/pg_ident.conf'
archive_mode = off
shared_preload_libraries = ''
session_preload_libraries = ''
local_preload_libraries = ''
dynamic_library_path = '$libdir'
max_wal_senders = 0
max_logical_replication_workers = 0
logging_collector = off
log_destination = stderr
lc_messages = C
timezone = UTC
ssl = off
autovacuum = off
fsync = off
full_page_writes = off
dynamic_shared_memory_type = mmap
shared_buffers = 64MB
max_wal_size = 256MB
"""


class PostgreSqlTrial(TrialMaker):
    name = "postgresql"
    example = "select count(*) from orders"

    def make(self, stored: Stored, questions: Sequence[Question]) -> Trial:
        if stored.way == DUMP:
            return _make(_dump_steps(stored), questions, room=2.0, notes=(UNSEEN.format("a dump has"),))
        if stored.way in (STREAM, COPY):
            stream = "base.tar" if stored.way == STREAM else "cluster.tar"
            return _make(_archive_steps(place_of(stored.part(stream))), questions, room=1.0)
        return _make(_cluster_steps(places_of(stored)), questions)


def _make(
    steps: tuple[Step, ...], questions: Sequence[Question], room: float = 0.0, notes: tuple[str, ...] = ()
) -> Trial:
    asking = [f"ask -d {quote(make_connection(each.database or 'postgres'))} -f" for each in questions]
    last = Step("checksums", call("check_checksums"), timeout_s=DAY_S)
    files = (
        OurFile("postgresql.conf", _CONFIG),
        OurFile("pg_hba.conf", "local all all trust\n"),
        OurFile("pg_ident.conf", ""),
        shell_file(__file__),
    )
    asked = answers(questions, asking)
    return Trial((*steps, *asked.steps, last), (*files, *asked.files), room, notes)


def _archive_steps(archive: str) -> tuple[Step, ...]:
    # of its own: what is unpacked must not lie beside what we write
    folder = f"{ROOM}/unpacked"
    found, *rest = _cluster_steps([folder, f"{folder}/data"])
    return (
        Step("unpack", call("unpack", archive, folder), timeout_s=DAY_S, is_needed=True),
        found,
        # before anything of it is changed
        Step("files", call("check_manifest"), timeout_s=DAY_S),
        *rest,
    )


def _cluster_steps(places: Sequence[str]) -> tuple[Step, ...]:
    return (
        Step("cluster", call("find_cluster", *places), is_needed=True),
        Step("configuration", call("disarm"), is_needed=True),
        Step("start", call("start"), timeout_s=DAY_S, is_needed=True),
        Step("pg_amcheck", call("check_tables"), timeout_s=DAY_S),
    )


def _dump_steps(stored: Stored) -> tuple[Step, ...]:
    roles = place_of(stored.part("globals.sql"))
    restores = [
        Step(f"database {part.part}", call("restore_database", place_of(part)), timeout_s=DAY_S)
        for part in sorted(stored.parts, key=lambda each: each.part)
        if part.part.endswith(".dump")
    ]
    return (
        Step("start", call("start_new"), is_needed=True),
        Step("roles", call("restore_roles", roles)),
        *restores,
    )
