"""MariaDB comes back: its files with the binary log, or a stream that mariadb-backup prepares."""

from __future__ import annotations

from agents.applications.comebacks import (
    AS_OWNER,
    Check,
    Choice,
    Comeback,
    Course,
    Extraction,
    Fetch,
    Home,
    Preparation,
    Seat,
    Way,
    course_of_files,
    find_reader,
    name_of,
    refuse_method,
)
from agents.applications.keepers import Keeper
from agents.applications.mariadb_database import ALL_DATABASES, extract_database
from agents.applications.mysql_session import client_words
from agents.applications.recipes import DUMP, STREAM
from agents.applications.stored import Stored
from agents.commands import Command
from agents.errors import PlanRefused
from agents.facts import Instance

_ARCHIVE = "backup.xbstream"
# $1 the name of the data directory, $2 the user. https://mariadb.com/kb/en/full-backup-and-restore-with-
# mariadb-backup/: extract, prepare, and only then it is consistent. What fails in its middle is no backup.
_PREPARE = (
    AS_OWNER
    + r"""
set -u
give_folder "$1" "$2" || exit 1
stream=$(command -v mbstream) && backup=$(command -v mariadb-backup || command -v mariabackup) ||
  { echo 'mariadb-backup is not installed here: install it, in the version of the server' >&2; exit 1; }
(
  exec 3<raw/backup.xbstream && cd work &&
    exec setpriv --reuid="${owner%:*}" --regid="${owner#*:}" --clear-groups -- "$stream" -x <&3 3<&-
) || { echo 'the stream could not be unpacked' >&2; exit 1; }
rm -f raw/backup.xbstream
(as_owner_of work "$backup" --no-defaults --prepare --target-dir=/mnt) 2>prepared.log || {
  tail -n 5 prepared.log >&2
  exit 1
}
rm -f prepared.log
mv -T work "new/$1"
"""
)
_SETTLE = r"""
set -u
[ -d "new/$1" ] && [ ! -L "new/$1" ] || { echo 'it holds no data directory' >&2; exit 1; }
[ -s "new/$1/ibdata1" ] || [ -s "new/$1/aria_log_control" ] || { echo 'it holds no tables' >&2; exit 1; }
rm -f "new/$1"/*.pid
"""
_LOG = r"""
find "$2" /var/log/mysql -maxdepth 1 -type f \( -name '*.err' -o -name 'error.log' \) \
  -newer "$1" 2>/dev/null | head -n 3 | while IFS= read -r file; do
  # as the owner of the data, who may put a link in the place of a log meanwhile
  setpriv --reuid="$(stat -c %u "$2")" --regid="$(stat -c %g "$2")" --clear-groups -- tail -c 3000 "$file"
done
"""
_IS_DUMP = "a dump holds databases, not the files of the server"
_BY_HAND = "Restore the dump into a folder, and let the client read it: mariadb < all-databases.sql"
_ONE_TABLE = "Bring its database back under a new name, and take the table from there."


class MariaDbComeback(Comeback):
    name = "mariadb"
    owner = "mysql"
    usual = {"/var/lib/mysql": "mariadb"}

    def places(self, stored: Stored, known: tuple[str, ...]) -> tuple[str, ...]:
        """An instance is called by its data directory; others hold its logs."""
        return (stored.instance, *(place for place in known if place != stored.instance))

    def choices(self, stored: Stored, home: Home) -> tuple[Choice, ...]:
        if stored.way == DUMP:
            return (_choose_database(stored, home), Choice(Way.IN_PLACE, False, _IS_DUMP, _BY_HAND))
        where = f"all of it replaces {home.data}; what is there is kept until the new answers"
        return (Choice(Way.IN_PLACE, True, where),)

    def course(self, stored: Stored, home: Home, keeper: Keeper) -> Course:
        name = name_of(home.data)
        settle = Preparation(0, f"{home.label}: look at the data directory", _SETTLE, (name,))
        if stored.is_files:
            # With its binary log, which may hold the other half of a transaction: without it the server
            # refuses to start ("Found 1 prepared transactions!").
            return course_of_files(stored, home, keeper, (settle,))
        if stored.way != STREAM:
            raise refuse_method(stored)
        fetch = Fetch(0, stored.part(_ARCHIVE), f"/{_ARCHIVE}", is_raw=True)
        label = f"{home.label}: unpack the stream and prepare it"
        prepare = Preparation(0, label, _PREPARE, (name, home.owner))
        return Course(home, keeper, (Seat(home.data),), (fetch,), (prepare, settle), factor=2)

    def extraction(
        self, stored: Stored, home: Home, part: str, new_name: str, table: str, run_name: str
    ) -> Extraction:
        instance = find_reader(stored, home)
        if table:
            raise PlanRefused(
                "one table of a dump of MariaDB does not come back by itself", remedy=_ONE_TABLE
            )
        dump = stored.part(ALL_DATABASES)
        return extract_database(home.label, instance, dump, part, new_name, run_name)

    def answers(self, instance: Instance) -> bool:
        return instance.is_running and bool(instance.version)

    def checks(self, instance: Instance) -> tuple[Check, ...]:
        words = client_words(instance.detail("client"), instance.detail("socket"))
        query = "select table_schema, count(*) from information_schema.tables group by table_schema"
        return (Check("every table is listed", Command.of(*words, "-e", query)),)

    def log(self, home: Home, since: str) -> Command | None:
        return Command.of("/bin/sh", "-c", _LOG, "hotfleet", since, home.data)


def _choose_database(stored: Stored, home: Home) -> Choice:
    if not stored.databases:
        return Choice(Way.DATABASE, False, "nobody knows which databases the dump holds", _BY_HAND)
    if not home.is_running:
        return Choice(
            Way.DATABASE, False, "its server does not run, and a dump is read by a server", "Start it."
        )
    why = "a database of the dump comes back under a new name, beside what is there"
    return Choice(Way.DATABASE, True, why, databases=stored.databases)
