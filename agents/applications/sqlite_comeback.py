"""A SQLite file comes back: the old one and its journals leave together, one checked file comes."""

from __future__ import annotations

import posixpath

from agents.applications.comebacks import (
    AS_OWNER,
    Check,
    Choice,
    Comeback,
    Course,
    Fetch,
    Home,
    Preparation,
    Seat,
    Way,
    refuse_method,
)
from agents.applications.keepers import NOBODY, Keeper
from agents.applications.recipes import STREAM
from agents.applications.stored import Stored
from agents.commands import Command
from agents.errors import PlanRefused
from agents.facts import Instance

# A journal of the old file beside the new one would be played into it (https://www.sqlite.org/howtocorrupt.html).
_BESIDE = ("-wal", "-shm", "-journal")
# $1 name, $2 owner, $3 the name in raw or "", $4 mode of the journal. The file is opened once by its owner:
# what a write-ahead log or a journal holds becomes part of it, and it is read whole.
_SETTLE = (
    AS_OWNER
    + r"""
set -u
give_folder "$1" "$2" || exit 1
if [ -n "$3" ]; then mv "raw/$3" work/database || exit 1; else
  for end in '' -wal -shm -journal; do
    [ ! -f "new/$1$end" ] || [ -L "new/$1$end" ] || mv "new/$1$end" "work/database$end" || exit 1
  done
fi
[ -f work/database ] && [ ! -L work/database ] || { echo 'it holds no database' >&2; exit 1; }
chown -R -h "$owner" work || exit 1
mode=$(stat -c %a "../$1" 2>/dev/null) || mode=$(stat -c %a work/database)
said=$(
  if command -v sqlite3 >/dev/null; then
    as_owner_of work sqlite3 -bail -batch -init /dev/null database "pragma journal_mode=delete" \
      'pragma integrity_check(3)' "pragma journal_mode=$4" </dev/null
  else
    as_owner_of work python3 -I -c 'import sqlite3, sys
database = sqlite3.connect("database", isolation_level=None)
for line in ("journal_mode=delete", "integrity_check(3)", f"journal_mode={sys.argv[1]}"):
    for row in database.execute(f"pragma {line}"): print(row[0])
database.close()' "$4"
  fi
) || { echo 'it could not be opened' >&2; exit 1; }
[ "$said" = "delete
ok
$4" ] || { printf 'it is not whole: %s\n' "$said" | head -c 1000 >&2; exit 1; }
chmod "$mode" work/database && mv -T work/database "new/$1"
"""
)
# $1 user, $2 group, $3 the file
_ASK = r"""
file=$3
set -- setpriv --reuid="$1" --regid="$2" --clear-groups
if command -v sqlite3 >/dev/null; then
  set -- "$@" -- sqlite3 -bail -batch -init /dev/null "$file" '.timeout 10000' \
    'select count(*) from sqlite_master'
else
  set -- "$@" -- python3 -I -c 'import sqlite3, sys
sqlite3.connect(sys.argv[1], timeout=10).execute("select count(*) from sqlite_master").fetchall()' "$file"
fi
exec "$@" </dev/null
"""


class SqliteComeback(Comeback):
    name = "sqlite"
    owner = "root"

    def places(self, stored: Stored, known: tuple[str, ...]) -> tuple[str, ...]:
        return known or (posixpath.dirname(stored.instance),)

    def choices(self, stored: Stored, home: Home) -> tuple[Choice, ...]:
        where = f"it replaces {_file(stored, home)} with its journals; nobody may have it open then"
        return (
            Choice(Way.IN_PLACE, True, where, "Name the service that works with it, to have it stopped."),
        )

    def course(self, stored: Stored, home: Home, keeper: Keeper) -> Course:
        file = _file(stored, home)
        folder, name = posixpath.split(file)
        known = f"{home.detail('uid')}:{home.detail('gid')}" if home.detail("uid") else ""
        owner = known or home.owner
        # Whoever writes into a database writes its journal beside it.
        seat = Seat(file, tuple(f"{name}{end}" for end in _BESIDE), known)
        journal = "wal" if home.detail("journal") == "wal" else "delete"
        label = f"{home.label}: open it once and read it whole"
        if stored.way == STREAM:
            if len(stored.parts) != 1:
                raise PlanRefused(f"{stored.key} has {len(stored.parts)} parts, and one is needed")
            (part,) = stored.parts
            fetch = Fetch(0, part, f"/{part.part}", is_raw=True)
            settle = Preparation(0, label, _SETTLE, (name, owner, part.part, journal))
        elif stored.is_files and stored.part("").paths == (folder,):
            fetch = Fetch(0, stored.part(""), file, more=seat.leaves_too)
            settle = Preparation(0, label, _SETTLE, (name, owner, "", journal))
        else:
            raise refuse_method(stored)
        return Course(home, keeper, (seat,), (fetch,), (settle,))

    def keeper(self, home: Home) -> Keeper | None:
        return NOBODY

    def answers(self, instance: Instance) -> bool:
        return True

    def checks(self, instance: Instance) -> tuple[Check, ...]:
        words = (instance.detail("uid"), instance.detail("gid"), instance.detail("file"))
        return (Check("its tables are listed", Command.of("/bin/sh", "-c", _ASK, "hotfleet", *words)),)


def _file(stored: Stored, home: Home) -> str:
    return home.detail("file") or stored.instance
