"""PostgreSQL comes back: its files, a stream or a low-level copy of them in place or beside; a database of a
dump under a new name."""

from __future__ import annotations

import posixpath
import re
from dataclasses import replace

from agents.applications.comebacks import (
    AS_OWNER,
    Check,
    Choice,
    Comeback,
    Course,
    Extraction,
    Fetch,
    Home,
    Log,
    Preparation,
    Seat,
    Way,
    course_of_files,
    find_reader,
    refuse_method,
)
from agents.applications.keepers import NOBODY, Keeper
from agents.applications.postgresql_answers import names_of
from agents.applications.postgresql_beside import bring_beside, extract_database
from agents.applications.postgresql_replay import replay_log
from agents.applications.postgresql_start import keep_cluster
from agents.applications.postgresql_ways import COPY, as_owner, databases_of, make_connection
from agents.applications.recipes import DUMP, STREAM
from agents.applications.stored import Stored
from agents.commands import Command
from agents.errors import PlanRefused
from agents.facts import Instance

_IS_DUMP = "dumps hold databases, not the files of a cluster"
# $1 the name of the data directory, $2 the user, $3 the archive. What it unpacks belongs to the owner, who
# runs tar himself, in his own directory: he cannot reach the staging by a path, nor need to.
_UNPACK = (
    AS_OWNER
    + r"""
set -u
name=$1 archive=$3
give_folder "$name" "$2" || exit 1
(
  exec 3<"raw/$archive" && cd work &&
    exec setpriv --reuid="${owner%:*}" --regid="${owner#*:}" --clear-groups -- tar -x -p -f - <&3 3<&-
) || { echo "$archive could not be unpacked" >&2; exit 1; }
rm -f -- "raw/$archive"
"""
)
_WHOLE = r"""
mv -T work "new/$name" || exit 1
"""
# An archive of the low-level copy: data/, tablespaces/<oid>/, tablespace_map. The tablespaces come to lie in
# one folder beside the data: where they were, the old data still has its own.
_APART = r"""
[ ! -L work/data ] && mv -T work/data "new/$name" || exit 1
set --
for each in work/tablespaces/*; do [ ! -d "$each" ] || set -- "$@" "${each##*/}"; done
if [ $# -gt 0 ]; then
  [ ! -L work/tablespaces ] && mv -T work/tablespaces "new/$name.tablespaces" || exit 1
  folder=$(cd .. && pwd -P)/$name.tablespaces
  (
    cd "new/$name" && exec setpriv --reuid="${owner%:*}" --regid="${owner#*:}" --clear-groups -- \
      /bin/sh -c 'folder=$1; shift; cd -P pg_tblspc || exit 1
        for oid; do rm -f "./$oid" && ln -s "$folder/$oid" "./$oid" || exit 1; done' links "$folder" "$@"
  ) || exit 1
  echo "note Its tablespaces lie in $folder now; where they were, their old files are left."
fi
rm -rf work
"""
# What a server needs to know that this is a copy: no process of another life, and its own version's programs.
_SETTLE = r"""
set -u
data=new/$1
[ -d "$data" ] && [ ! -L "$data" ] || { echo 'it holds no data directory' >&2; exit 1; }
version=$(head -c 16 "$data/PG_VERSION" 2>/dev/null) || version=''
case $version in '' | *[!0-9.]*) echo "no PG_VERSION: this is no cluster" >&2; exit 1 ;; esac
[ -s "$data/global/pg_control" ] || { echo 'global/pg_control is missing' >&2; exit 1; }
found=''
for each in "/usr/lib/postgresql/$version/bin/postgres" "/usr/pgsql-$version/bin/postgres" \
  "$(command -v postgres)"; do
  case $("$each" --version 2>/dev/null) in *" $version"[.\ ]* | *" $version") found=$each ;; esac
done
[ -n "$found" ] || { echo "PostgreSQL $version is not installed here: install that version" >&2; exit 1; }
rm -f "$data/postmaster.pid" "$data/postmaster.opts"
[ ! -e "$data/standby.signal" ] || echo 'note It is a standby until standby.signal is removed.'
[ ! -e "$data/recovery.signal" ] || echo 'note recovery.signal is in it: it follows restore_command.'
chmod 0700 "$data"
"""
_VERIFY = (
    AS_OWNER
    + r"""
data=new/$1
[ -e "$data/backup_manifest" ] || exit 0
version=$(head -c 16 "$data/PG_VERSION")
program=/usr/lib/postgresql/$version/bin/pg_verifybackup
[ -x "$program" ] || program=$(command -v pg_verifybackup) || exit 0
as_owner_of "$data" "$program" -n -q .
"""
)
# Where its server logs: its own folder, or Debian's. $1 a file that was made before its start (the data may
# hold the logs of its earlier life), $2 the data directory, $3 Debian's name of the cluster. Read as the
# owner of the data, who may put a link in the place of a log meanwhile.
_LOG = r"""
find "$2/startup.log" "$2/log" "$2/pg_log" "/var/log/postgresql/postgresql-$3.log" -maxdepth 1 -type f \
  ! -name '*.json' -newer "$1" 2>/dev/null | head -n 3 | while IFS= read -r file; do
  setpriv --reuid="$(stat -c %u "$2")" --regid="$(stat -c %g "$2")" --clear-groups -- tail -c 3000 "$file"
done
"""


class PostgreSqlComeback(Comeback):
    name = "postgresql"
    owner = "postgres"

    def places(self, stored: Stored, known: tuple[str, ...]) -> tuple[str, ...]:
        """The name tells where a cluster is that nobody sees any more: its path, or that of Debian."""
        if known:
            return known
        is_debian = re.fullmatch(r"[0-9.]{1,8}/[A-Za-z0-9_.-]{1,100}", stored.instance)
        return (f"/var/lib/postgresql/{stored.instance}",) if is_debian else (stored.instance,)

    def choices(self, stored: Stored, home: Home) -> tuple[Choice, ...]:
        if stored.way == DUMP:
            names = tuple(part.part for part in stored.parts if part.part.endswith(".dump"))
            runs = home.is_running
            why = "a database of the dump comes back under a new name, beside what is there"
            lacks = "its server does not run, and a dump is read by a server"
            said = (why, "") if runs else (lacks, "Start it.")
            into = Choice(Way.DATABASE, runs, *said, databases=names, has_tables=True)
            apart = (Choice(way, False, _IS_DUMP) for way in (Way.IN_PLACE, Way.BESIDE))
            return (into, *apart)
        where = f"all of it replaces {home.data}; what is there is kept until the new answers"
        beside = "it runs on a port of its own beside the present one, until you stop it"
        only = "only a dump holds databases one by one: bring it back beside, and dump one of it"
        return (
            Choice(Way.IN_PLACE, True, where),
            Choice(Way.BESIDE, True, beside),
            Choice(Way.DATABASE, False, only),
        )

    def course(self, stored: Stored, home: Home, keeper: Keeper) -> Course:
        if stored.way == DUMP:
            raise PlanRefused(f"{home.label}: {_IS_DUMP}", remedy="Bring one database of it back.")
        name = posixpath.basename(home.data)
        settle = Preparation(0, f"{home.label}: prepare the data directory", _SETTLE, (name,))
        if stored.is_files:
            course = course_of_files(stored, home, keeper, (settle,))
            return replace(course, notes=_notes_of_tablespaces(home, course))
        is_copy = stored.way == COPY
        archive = "cluster.tar" if is_copy else "base.tar"
        if stored.way not in (STREAM, COPY):
            raise refuse_method(stored)
        part = stored.part(archive)
        source = _UNPACK + (_APART if is_copy else _WHOLE)
        unpack = Preparation(0, f"{home.label}: unpack {archive}", source, (name, home.owner, archive))
        verify = Preparation(0, f"{home.label}: compare every file with its manifest", _VERIFY, (name,))
        seat = Seat(home.data, leaves_too=(f"{name}.tablespaces",) if is_copy else ())
        return Course(
            home, keeper, (seat,), (Fetch(0, part, f"/{archive}", is_raw=True),),
            (unpack, settle) if is_copy else (unpack, verify, settle), factor=2,
        )  # fmt: skip

    def replayed(self, course: Course, log: Log) -> Course:
        return replay_log(course, log)

    def keeper(self, home: Home) -> Keeper | None:
        return keep_cluster(home)

    def beside(self, stored: Stored, home: Home, folder: str, port: int) -> Course:
        if stored.way == DUMP:
            raise PlanRefused(f"{home.label}: {_IS_DUMP}", remedy="Bring one database of it back.")
        return bring_beside(self.course(stored, home, NOBODY), folder, port)

    def extraction(
        self, stored: Stored, home: Home, part: str, new_name: str, table: str, run_name: str
    ) -> Extraction:
        instance = find_reader(stored, home)
        return extract_database(home.label, instance, stored.part(part), new_name, table, run_name)

    def answers(self, instance: Instance) -> bool:
        return instance.is_running and bool(instance.detail("asked_in"))

    def checks(self, instance: Instance) -> tuple[Check, ...]:
        return tuple(
            Check(
                f"database {database} reads its catalogue",
                as_owner(
                    instance, instance.detail("psql"), "-X", "-q", "-w", "-A", "-t",
                    "-v", "ON_ERROR_STOP=1", "-d", make_connection(database),
                    "-c", "select count(*) from pg_class c, pg_attribute a where a.attrelid = c.oid",
                ),
            )
            for database in databases_of(instance)[:50]
        )  # fmt: skip

    def log(self, home: Home, since: str) -> Command | None:
        cluster = home.name.replace("/", "-")
        return Command.of("/bin/sh", "-c", _LOG, "hotfleet", since, home.data, cluster)


def _notes_of_tablespaces(home: Home, course: Course) -> tuple[str, ...]:
    present = names_of(home.instance, "tablespace") if home.instance is not None else ()
    strange = [path for path in present if not any(path.startswith(seat.path) for seat in course.seats)]
    return tuple(
        f"the tablespace in {path} is not part of the restore point: it stays as it is, unused"
        for path in strange
    )
