"""One database of a dump of a whole MariaDB server comes back under a new name, beside what is there.

The client itself leaves out what belongs to other databases (--one-database): it reads SQL as the server
does, so no text in the body of a routine can pass for the beginning of a database. It may run no program and
read no file (--sandbox); a client that does not know that refuses to start.
"""

from __future__ import annotations

from agents.applications.comebacks import Extraction
from agents.applications.mysql_session import client_words
from agents.applications.mysql_streams import version_of
from agents.applications.stored import StoredPart
from agents.commands import Command
from agents.errors import PlanRefused
from agents.facts import Instance

ALL_DATABASES = "all-databases.sql"
_MOST_NAME_CHARACTERS = 64
_OLDEST = (10, 5)  # the first in which a database has a comment
# Names are taken from the environment: there no letter of them means anything to awk. A line that is changed
# in the body of a routine can only be a comment there.
_RENAME = r"""
set -u
old=$1 new=$2
shift 2
status=$({ { old=$old new=$new awk '
  BEGIN {
    old = ENVIRON["old"]; new = ENVIRON["new"]; create = "CREATE DATABASE /*!32312 IF NOT EXISTS*/ "
    print "USE " new ";" # else the client leaves out what comes before the first database: modes, time zone
  }
  { last = $0 }
  $0 == "USE " old ";" { found = 1; print "USE " new ";"; next }
  index($0, create old " ") == 1 {
    if (match($0, /\/\*!40100 DEFAULT CHARACTER SET [a-z0-9_]+( COLLATE [a-z0-9_]+)? \*\//))
      print "USE " new ";\nALTER DATABASE " new " " substr($0, RSTART, RLENGTH) ";"
    next
  }
  index($0, create) == 1 { next }
  index($0, "ALTER DATABASE " old " ") == 1 {
    $0 = "ALTER DATABASE " new substr($0, length("ALTER DATABASE " old) + 1)
  }
  { print }
  END {
    if (!found) { print "the dump holds no such database" >"/dev/stderr"; exit 3 }
    if (index(last, "-- Dump completed") != 1) { print "the dump is cut off" >"/dev/stderr"; exit 3 }
  }'; echo "$?" >&3; } | "$@" >/dev/null 3>&-; echo "$?" >&3; } 3>&1)
[ "$status" = "0
0" ]
"""
# Only what this run made, which its comment says.
_DROP = r"""
found=$1 drop=$2
shift 2
said=$("$@" -e "$found") || exit 1
[ "$said" = 1 ] || exit 0
exec "$@" -e "$drop"
"""
_IS_OURS = (
    "select count(*) from information_schema.schemata where hex(schema_name) = '{name}' "
    "and schema_comment = '{run}'"
)
_COUNT = "select count(*) from information_schema.tables where hex(table_schema) = '{name}'"


def extract_database(
    label: str, instance: Instance, dump: StoredPart, name: str, new_name: str, run_name: str
) -> Extraction:
    """Given a server that runs and a dump of all its databases, return how the one called `name` comes back
    as `new_name`. Raise PlanRefused for a name that no database can have, or a server that is too old."""
    for each in (name, new_name):
        if not 0 < len(each) <= _MOST_NAME_CHARACTERS or any(letter in each for letter in "\0\n\r\\/"):
            raise PlanRefused(f"{each!r} is no name for a database")
    if version_of(instance.version) < _OLDEST:
        raise PlanRefused(
            f"{label} is older than 10.5: it cannot note which database is half there",
            remedy="Restore the dump into a folder, and let its client read it.",
        )
    client = client_words(instance.detail("client"), instance.detail("socket"))
    reader = ("--sandbox", "--one-database", "--default-character-set=utf8mb4", f"--database={new_name}")
    new = _quoted(new_name)
    is_ours = _IS_OURS.format(name=_hex(new_name), run=run_name)
    return Extraction(
        label=f"{label}: {name} of {dump.part} as {new_name}",
        part=dump,
        create=Command.of(*client, "-e", f"create database {new} comment = '{run_name}'"),
        load=Command.of("/bin/sh", "-c", _RENAME, "hotfleet", _quoted(name), new, *client, *reader),
        finish=Command.of(*client, "-e", f"alter database {new} comment = ''"),
        drop=Command.of("/bin/sh", "-c", _DROP, "hotfleet", is_ours, f"drop database {new}", *client),
        count=Command.of(*client, "-e", _COUNT.format(name=_hex(new_name))),
        remedy="Nothing of it is left. Mend what the server says, or read the dump by hand from a folder.",
    )


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _hex(name: str) -> str:
    """A name by its bytes: so it means the same in every mode of the server."""
    return name.encode("utf-8", "surrogateescape").hex().upper()
