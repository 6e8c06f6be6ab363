"""OpenLDAP: slapcat prints the configuration and each database while slapd runs."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from agents.applications.contract import Application
from agents.applications.recipes import SNAPSHOT, STREAM, Ground, Offer, Patience, Recipe, Stream
from agents.applications.servers import EACH_SERVER
from agents.commands import Command
from agents.errors import PlanRefused, ProtocolBroken
from agents.events import Consistency
from agents.facts import Detail, DeviceFacts, Instance
from agents.facts.wire import split_fields

# slapcat(8) of OpenLDAP 2.5: "It is always safe to run slapcat with the slapd-mdb(5), and slapd-null(5)
# backends"; 2.4 says the same of bdb and hdb. One transaction of LMDB is one view of the database.
_STREAMED = frozenset({"mdb", "bdb", "hdb"})
# They hold nothing of their own, or what is lost with the process.
_WITHOUT_DATA = frozenset(
    {
        "config",
        "frontend",
        "monitor",
        "ldap",
        "meta",
        "asyncmeta",
        "null",
        "relay",
        "dnssrv",
        "passwd",
        "perl",
    }
    | {"sock", "sql", "shell"}
)
_DATABASE = re.compile(r"dn: olcDatabase=\{(-?\d{1,3})\}([a-z_-]{1,40}),cn=config")
_NUMBER = re.compile(r"\d{1,3}")
_UNSAFE = re.compile(r"[^A-Za-z0-9=,._-]+")
# Passwords stand in the configuration: only what is named here leaves the device.
_ASK = (
    EACH_SERVER
    + r"""
keep='/^dn: olcDatabase=/ { here = 1 } /^dn: / && !/^dn: olcDatabase=[^,]*,cn=config$/ { here = 0 }
here && /^(dn|olcSuffix|olcDbDirectory|olcDbNoSync|olcDbEnvFlags|olcSubordinate)::? / { print }'
ask_server() {
  place='' previous=''
  for word; do
    case $previous in -F) place=$word ;; -f) [ -n "$place" ] || place=$word ;; esac
    case $word in -F?*) place=${word#-F} ;; esac
    previous=$word
  done
  for default in /etc/ldap/slapd.d /etc/openldap/slapd.d /etc/ldap/slapd.conf /etc/openldap/slapd.conf; do
    [ -n "$place" ] || [ ! -e "$default" ] || place=$default
  done
  case $place in /*) ;; *) place=$cwd/$place ;; esac
  # in some distributions root owns it; what is read of it is read as the process's user
  [ "$contained" = 1 ] || [ ! -e "$place" ] || process_owns "$pid" "$place" ||
    [ "$(stat -L -c %u -- "$place")" = 0 ] || return 0
  version=$(bounded 3 slapd -VV 2>&1 | sed -n 's/.*slapd \([0-9][0-9.]*\).*/\1/p' | head -n 1)
  said='' status=0
  if [ "$contained" = 0 ] && [ -d "$place" ]; then
    said=$(as_server 8 slapcat -F "$place" -n 0 -o ldif-wrap=no 2>/dev/null | awk "$keep")
    [ -n "$said" ] || status=1
  fi
  kind=other
  [ ! -d "$place" ] || kind=directory
  printf '%s\0' "$place" "$kind" "$contained" "$uid" "$gid" "$service" "$version" "$status" "$said"
}
each_server slapd slapd
"""
)
# LDIF has no end mark: one that was cut off between two entries looks whole. A comment is one: slapadd skips
# it.
END = "# the end: slapcat printed every entry"
# The words: user, group, directory, number. As the server's user: as root it would leave files of root's.
_PRINT = rf"""
set -- "$1" "$2" slapcat -F "$3" -n "$4" -g
uid=$1 gid=$2
shift 2
[ "$uid" = 0 ] || set -- setpriv --reuid="$uid" --regid="$gid" --clear-groups -- "$@"
"$@" || exit
printf '%s\n' '{END}'
"""


@dataclass(frozen=True, slots=True)
class Database:
    """A database of slapd as its configuration has it."""

    number: int
    backend: str
    suffix: str = ""
    directory: str = ""
    is_unsynced: bool = False

    @property
    def label(self) -> str:
        return f"{{{self.number}}}{self.backend}"


class OpenLdap(Application):
    """An instance is a running slapd; its name is the directory of its configuration."""

    name = "openldap"
    label = "OpenLDAP"

    def look(self, facts: DeviceFacts) -> Command | None:
        return Command.of("/bin/sh", "-c", _ASK)

    def parse(self, output: bytes, facts: DeviceFacts) -> tuple[Instance, ...]:
        return tuple(_make_instance(row) for row in split_fields(output, 9))

    def offers(self, instance: Instance, ground: Ground, facts: DeviceFacts) -> tuple[Offer, ...]:
        if not instance.is_running:
            return ()
        offers = []
        if instance.detail("streams"):
            reason = "slapcat prints the configuration and each database in one transaction while slapd runs"
            offers.append(
                Offer(STREAM, Consistency.APPLICATION, reason, cost="every entry is read and sent each time")
            )
        if ground.is_atomic and instance.places and not instance.detail("unsynced"):
            reason = f"{ground.reason}; LMDB is whole after a crash, and a snapshot looks like one"
            offers.append(Offer(SNAPSHOT, Consistency.CRASH, reason))
        return tuple(offers)

    def recipe(self, instance: Instance, method: str, patience: Patience, scratch: str) -> Recipe:
        if method == SNAPSHOT:
            return Recipe(SNAPSHOT, Consistency.CRASH, paths=instance.places)
        if method != STREAM or not instance.detail("streams"):
            raise PlanRefused(f"OpenLDAP is not backed up by {method!r}")
        user, group = instance.detail("uid"), instance.detail("gid")
        streams = []
        for row in instance.detail("streams").split("\n"):
            number, _, name = row.partition(" ")
            words = ("/bin/sh", "-c", _PRINT, "slapcat", user, group, instance.name, number)
            streams.append(Stream(name, Command(words)))
        note = "restore: slapadd -q -n 0 with config.ldif into an empty directory, then -n <number> each file"
        return Recipe(STREAM, Consistency.APPLICATION, streams=tuple(streams), notes=(note,))


def _make_instance(row: tuple[str, ...]) -> Instance:
    place, kind, contained, uid, gid, service, version, status, said = row
    numbers = (uid, gid, status)
    if not place.startswith("/") or not all(each.isascii() and each.isdigit() for each in numbers):
        raise ProtocolBroken("slapd was described in words that nobody understands", detail=repr(row)[:300])
    databases = _parse_databases(said)
    holding = [each for each in databases if each.backend not in _WITHOUT_DATA]
    problems = _find_problems(place, kind, contained, status, holding)
    streams = [] if problems else ["0 config.ldif", *(f"{each.number} {_name(each)}" for each in holding)]
    details = (
        Detail("uid", uid),
        Detail("gid", gid),
        Detail("streams", "\n".join(streams)),
        Detail("unsynced", ", ".join(each.label for each in holding if each.is_unsynced)),
    )
    directories = [each.directory for each in holding if each.directory.startswith("/")]
    places = tuple(dict.fromkeys((place, *directories))) if not problems else ()
    label = f"OpenLDAP {place}"
    return Instance("openldap", place, label, version, places, service, True, details, tuple(problems))


def _find_problems(place: str, kind: str, contained: str, status: str, holding: list[Database]) -> list[str]:
    if contained != "0":
        return [
            "slapd runs in a container: back its container up (Docker), or run slapcat there as a command"
        ]
    if kind != "directory":
        return [
            f"{place} is the old slapd.conf: convert it (slaptest -f {place} -F slapd.d), or plan a command"
        ]
    if status != "0" or not holding:
        return [f"slapcat could not read {place}: install slapcat beside slapd (Debian: the package slapd)"]
    unknown = [each.label for each in holding if each.backend not in _STREAMED]
    return (
        [f"nobody knows whether slapcat is safe while slapd runs with {', '.join(unknown)}"]
        if unknown
        else []
    )


def _parse_databases(said: str) -> list[Database]:
    databases: list[Database] = []
    for block in re.split(r"\n(?=dn: )", said) if said else []:
        lines = block.split("\n")
        match = _DATABASE.fullmatch(lines[0])
        if match is None:
            raise ProtocolBroken("slapcat named a database that nobody understands", detail=lines[0][:300])
        values = [_split(line) for line in lines[1:]]
        flags = [value.upper() for key, value in values if key in ("olcDbNoSync", "olcDbEnvFlags")]
        databases.append(
            Database(
                int(match[1]),
                match[2],
                next((value for key, value in values if key == "olcSuffix"), ""),
                next((value for key, value in values if key == "olcDbDirectory"), ""),
                any(flag == "TRUE" or "NOSYNC" in flag or "MAPASYNC" in flag for flag in flags),
            )
        )
    return databases


def _split(line: str) -> tuple[str, str]:
    """Given a line of LDIF, return its name and value: after two colons it is base64."""
    key, is_line, value = line.partition(": ")
    if not is_line:
        raise ProtocolBroken("slapcat printed a line that is no LDIF", detail=line[:300])
    if not key.endswith(":"):
        return key, value
    try:
        return key[:-1], base64.b64decode(value, validate=True).decode("utf-8", "surrogateescape")
    except (binascii.Error, ValueError) as error:
        raise ProtocolBroken("slapcat printed a value that is no base64", detail=line[:300]) from error


def _name(database: Database) -> str:
    """A name without a slash for the stream; the number makes it one of its own."""
    suffix = _UNSAFE.sub("_", database.suffix)[:100].strip("._") or database.backend
    return f"{database.number}-{suffix}.ldif"
