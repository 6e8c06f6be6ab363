"""A PostgreSQL cluster that runs beside the present one, and a database of a dump under a new name."""

from __future__ import annotations

import posixpath
from dataclasses import replace

from agents.applications.comebacks import Course, Extraction, Preparation, Seat
from agents.applications.postgresql_start import keep_by_hand
from agents.applications.postgresql_ways import as_owner, make_connection
from agents.applications.stored import StoredPart
from agents.commands import Command, join
from agents.errors import PlanRefused
from agents.facts import Instance

_MOST_NAME_BYTES = 63
# $1 the name that the data had, $2 the folder, $3 the port, $4 the user. It comes as data/, with our own
# configuration: the restored one may name the archive, the port and the programs of the original.
_FURNISH = r"""
set -u
umask 077
[ -d "new/$1" ] && [ ! -L "new/$1" ] || { echo 'it holds no data directory' >&2; exit 1; }
owner=$(stat -c %u:%g "new/$1")
case $owner in 0:*) owner=$(id -u "$4"):$(id -g "$4") && chown "$owner" "new/$1" || exit 1 ;; esac
for link in "new/$1/pg_wal" "new/$1"/pg_tblspc/*; do
  [ -L "$link" ] || continue
  case $(readlink "$link") in "$2"/*) ;; *)
    echo 'its links lead to the files of the original: bring a copy beside it instead of this' >&2
    exit 1 ;;
  esac
done
[ "$1" = data ] || mv -T "new/$1" new/data || exit 1
rm -f new/data/standby.signal new/data/recovery.signal
{
  echo '# What is not said on its command line is the default: the restored configuration counts for nothing.'
  echo "port = $3"
} >new/postgresql.conf
printf '%s\n' 'local all all peer' 'host all all 127.0.0.1/32 scram-sha-256' \
  'host all all ::1/128 scram-sha-256' >new/pg_hba.conf
: >new/pg_ident.conf
mkdir new/socket && chown -h "$owner" new/socket new/postgresql.conf new/pg_hba.conf new/pg_ident.conf
"""


def bring_beside(course: Course, folder: str, port: int) -> Course:
    """Given the course in place, return that into a new folder, on a port of its own. Raise PlanRefused when
    its files lie in several places."""
    home = course.home
    if posixpath.normpath(folder) != folder or not folder.startswith("/") or folder.count("/") < 2:
        raise PlanRefused(
            f"{folder!r} is no folder of its own", remedy="Name one, for example /var/lib/beside."
        )
    if not 1024 <= port <= 65535:
        raise PlanRefused("the port must be between 1024 and 65535")
    if len(course.seats) > 1:
        raise PlanRefused(
            f"the files of {home.label} lie in several places, and their links lead to the original",
            remedy="Bring a restore point of the method copy back beside it.",
        )
    name = posixpath.basename(home.data)
    owner = home.detail("owner") or home.owner
    label = f"{home.label} beside, in {folder}"
    furnish = Preparation(
        0, f"{label}: a configuration of its own", _FURNISH, (name, folder, str(port), owner)
    )
    data = f"{folder}/data"
    keeper = keep_by_hand(label, data, owner, *_settings(folder, port))
    version = home.instance.version.partition(".")[0] if home.instance is not None else ""
    program = f"/usr/lib/postgresql/{version}/bin/pg_ctl" if version else "pg_ctl"
    stop = join(("runuser", "-u", owner, "--", program, "-D", data, "-m", "fast", "stop"))
    return replace(
        course,
        home=replace(home, name=data, label=label, places=(data,), is_running=False, services=()),
        keeper=keeper,
        seats=(Seat(data),),
        preparations=(*course.preparations, furnish),
        is_fresh=True,
        stop_line=f"{stop} && {join(('rm', '-r', folder))}",
    )


def _settings(folder: str, port: int) -> tuple[str, ...]:
    """On the command line they come before whatever postgresql.auto.conf says, which lies in the data."""
    return (
        f"config_file={folder}/postgresql.conf",
        f"hba_file={folder}/pg_hba.conf",
        f"ident_file={folder}/pg_ident.conf",
        f"unix_socket_directories={folder}/socket",
        f"port={port}",
        "listen_addresses=localhost",
        "archive_mode=off",
        "restore_command=",
        "primary_conninfo=",
        "shared_preload_libraries=",
        "session_preload_libraries=",
        "local_preload_libraries=",
        "logging_collector=off",
        "ssl=off",
        # not fewer than the original had: it may hold transactions that were prepared
        "max_prepared_transactions=1000",
    )


def extract_database(
    label: str, instance: Instance, part: StoredPart, new_name: str, table: str, run_name: str
) -> Extraction:
    """Given a server that runs and the dump of a database, return how it comes back as `new_name`: under a
    name of the run until all of it is there. Raise PlanRefused for a name that no database can have."""
    size = len(new_name.encode("utf-8", "surrogateescape"))
    if not 0 < size <= _MOST_NAME_BYTES or "\0" in new_name:
        raise PlanRefused(f"{new_name!r} is no name for a database")
    if not part.part.endswith(".dump"):
        raise PlanRefused(f"{part.part or 'a restore point of files'} holds no database")
    temporary = run_name[:_MOST_NAME_BYTES]
    restore = posixpath.join(posixpath.dirname(instance.detail("pg_dump")), "pg_restore")
    words = ("-e", "-w", "-d", make_connection(temporary), *(("-t", table) if table else ()))
    asked_in = make_connection(instance.detail("asked_in"))

    def ask(sql: str, database: str = asked_in) -> Command:
        names = ("-v", f"temporary={temporary}", "-v", f"new={new_name}")
        words = ("-X", "-q", "-w", "-A", "-t", "-v", "ON_ERROR_STOP=1", *names, "-d", database, "-f", "-")
        command = as_owner(instance, instance.detail("psql"), *words)
        # psql reads variables in a script only, and an undo step reads nothing
        script = 'sql=$1; shift; printf "%s\n" "$sql" | "$@"'
        return Command.of("/bin/sh", "-c", script, "hotfleet", sql, *command.argv)

    return Extraction(
        label=f"{label}: {part.part} as {new_name}",
        part=part,
        create=ask('create database :"temporary" template template0'),
        load=as_owner(instance, restore, *words),
        finish=ask('alter database :"temporary" rename to :"new"'),
        drop=ask('drop database if exists :"temporary"'),
        count=ask(
            "select count(*) from pg_class where relkind in ('r', 'p', 'm') "
            "and relnamespace not in (select oid from pg_namespace where nspname ~ '^pg_' "
            "or nspname = 'information_schema')",
            make_connection(temporary),
        ),
        remedy="A role that owns something may be missing: globals.sql of the same run has all roles.",
    )
