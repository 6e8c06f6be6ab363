"""OpenLDAP comes back: its files, or databases that slapadd makes of streams, for the configuration that is
there."""

from __future__ import annotations

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
    course_of_files,
    name_of,
    refuse_method,
)
from agents.applications.keepers import Keeper
from agents.applications.openldap import END
from agents.applications.recipes import STREAM
from agents.applications.stored import Stored
from agents.commands import Command
from agents.facts import Instance

_CONFIG = "config.ldif"
# $1 name of the data directory, $2 owner, $3 its path, $4 the directory of the configuration, which says
# which database lies there: slapadd works with a copy of it that names folders of ours. $5 the last line of a
# stream.
_MAKE = (
    AS_OWNER
    + r"""
set -u
name=$1 path=$3 config=$4 end=$5
give_folder "$1" "$2" || exit 1
command -v slapadd >/dev/null || { echo 'slapadd is not installed here: install slapd' >&2; exit 1; }
[ -d "$config/cn=config" ] ||
  { echo "its configuration in $config is missing: bring that back first" >&2; exit 1; }
# slapcat would refuse a configuration that names a directory which is gone: its files are read as they are
mkdir work/data && cp -R -P "$config" work/config || exit 1
number=''
for file in "work/config/cn=config/olcDatabase="*.ldif; do
  [ -f "$file" ] && [ ! -L "$file" ] || continue
  lies=$(folder=$path awk '
    /^ / { line = line substr($0, 2); next } { seen(); line = $0 } END { seen() }
    function seen() { if (line == "olcDbDirectory: " ENVIRON["folder"]) print "here" }' "$file")
  found=${file##*=\{} && found=${found%%\}*}
  others=other$found
  if [ "$lies" = here ]; then number=$number$found others=data; else mkdir "work/$others" || exit 1; fi
  folder=/mnt/$others awk '
    /^ / { line = line substr($0, 2); next } { show(); line = $0 } END { show() }
    function show() {
      sub(/^olcDbDirectory:.*/, "olcDbDirectory: " ENVIRON["folder"], line)
      if (line != "") print line
    }' "$file" >file && cat file >"$file" || exit 1
done
case $number in '' | *[!0-9]*) echo "no database of its configuration lies in $path" >&2; exit 1 ;; esac
set -- raw/"$number"-*.ldif
[ $# = 1 ] && [ -f "$1" ] || { echo "the restore point holds no stream of database $number" >&2; exit 1; }
mv "$1" work/data.ldif || exit 1
[ "$(tail -n 1 work/data.ldif)" = "$end" ] ||
  { echo 'its stream was cut off: its end is missing' >&2; exit 1; }
chown -R -h "$owner" work && chmod 0700 work/data || exit 1
(as_owner_of work slapadd -q -F /mnt/config -n "$number" -l /mnt/data.ldif) >said 2>&1 ||
  { tail -n 3 said >&2; exit 1; }
mv -T work/data "new/$name"
"""
)
# $1 user, $2 group, $3 configuration, then numbers of databases
_READ = r"""
user=$1 group=$2 config=$3
shift 3
for number; do
  set -- slapcat -F "$config" -n "$number"
  [ "$user" = 0 ] || set -- setpriv --reuid="$user" --regid="$group" --clear-groups -- "$@"
  "$@" >/dev/null || exit 1
done
"""


class OpenLdapComeback(Comeback):
    name = "openldap"
    owner = "openldap"
    usual = {"/etc/ldap/slapd.d": "slapd"}

    def choices(self, stored: Stored, home: Home) -> tuple[Choice, ...]:
        kept = "" if stored.is_files else "; its configuration stays as it is"
        where = f"{', '.join(_replaced(stored, home))} is replaced{kept}"
        return (Choice(Way.IN_PLACE, True, where),)

    def course(self, stored: Stored, home: Home, keeper: Keeper) -> Course:
        if stored.is_files:
            return course_of_files(stored, home, keeper, ())
        directories = _replaced(stored, home)
        streams = [part for part in stored.parts if part.part != _CONFIG]
        if stored.way != STREAM or not directories or not streams:
            raise refuse_method(stored)
        fetches, preparations = [], []
        user = f"{home.detail('uid')}:{home.detail('gid')}" if home.detail("uid") else home.owner
        for number, path in enumerate(directories):
            fetches += [Fetch(number, part, f"/{part.part}", is_raw=True) for part in streams]
            words = (name_of(path), user, path, stored.instance, END)
            label = f"{home.label}: make the database in {path} of its stream"
            preparations.append(Preparation(number, label, _MAKE, words))
        seats = tuple(Seat(path) for path in directories)
        return Course(home, keeper, seats, tuple(fetches), tuple(preparations), factor=3)

    def answers(self, instance: Instance) -> bool:
        return instance.is_running and not instance.problems

    def checks(self, instance: Instance) -> tuple[Check, ...]:
        rows = [row.partition(" ")[0] for row in instance.detail("streams").split("\n") if row]
        words = (instance.detail("uid"), instance.detail("gid"), instance.name, *rows)
        return (Check("every entry is read", Command.of("/bin/sh", "-c", _READ, "hotfleet", *words)),)


def _replaced(stored: Stored, home: Home) -> tuple[str, ...]:
    """The configuration is what the databases are made for: a stream replaces them alone."""
    if stored.is_files:
        return home.places
    return tuple(place for place in home.places if place != stored.instance)
