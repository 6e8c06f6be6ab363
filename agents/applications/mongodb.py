"""MongoDB: an atomic snapshot with its journal, a lock around several volumes, mongodump of a replica set.

Written against MongoDB's manual: not exercised against a real server (docs/operate.md says so)."""

from __future__ import annotations

from agents.applications.contract import Application
from agents.applications.recipes import (
    NOT_HELD,
    SNAPSHOT,
    STREAM,
    Ground,
    Offer,
    Patience,
    Quiesce,
    Recipe,
    Stream,
)
from agents.applications.servers import EACH_SERVER
from agents.commands import Command, quote
from agents.errors import PlanRefused, ProtocolBroken
from agents.events import Consistency
from agents.facts import Detail, DeviceFacts, Instance
from agents.facts.wire import parse_number, split_fields

LOCKED = "locked"
_ASK = (
    EACH_SERVER
    + r"""
setting() { printf '%s\n' "$said" | sed -n "s/^$1=//p" | tail -n 1; }
ask_server() {
  file='' previous='' said=''
  for word; do
    case $previous in
      -f | --config) file=$word ;;
      --dbpath | --port | --replSet) said="$said
${previous#--}=$word" ;;
    esac
    case $word in
      --config=*) file=${word#*=} ;;
      --dbpath=* | --port=* | --replSet=*) said="$said
${word#--}" ;;
      --nojournal | --auth) said="$said
${word#--}=true" ;;
    esac
    previous=$word
  done
  case $file in '' | /*) ;; *) file=$cwd/$file ;; esac
  if [ -n "$file" ] && [ "$contained" = 0 ]; then
    said="$(as_server 3 cat -- "$file" 2>/dev/null | awk '
      /^[^ #]/ { section = $1 } /^  [^ #]/ { part = $1 }
      { sub(/ +#.*/, ""); value = $2; gsub(/["\047]/, "", value) }
      $1 == "dbPath:" { print "dbpath=" value } $1 == "port:" && section == "net:" { print "port=" value }
      $1 == "replSetName:" { print "replSet=" value } $1 == "engine:" { print "engine=" value }
      $1 == "authorization:" && value == "enabled" { print "auth=true" }
      $1 == "enabled:" && part == "journal:" && value == "false" { print "nojournal=true" }')
$said"
  fi
  path=$(setting dbpath)
  path=${path:-/data/db}
  case $path in /*) ;; *) path=$cwd/$path ;; esac
  [ "$contained" = 1 ] || process_owns "$pid" "$path" || return 0
  links=''
  if [ "$contained" = 0 ]; then
    links=$(find "$path" -maxdepth 2 -type l -exec readlink -f {} \; 2>/dev/null | head -n 50)
  fi
  port=$(setting port)
  client=$(command -v mongosh || command -v mongo) || client=''
  dump=$(command -v mongodump) || dump=''
  answer=unknown
  if [ "$contained" = 0 ] && [ -n "$client" ]; then
    answer=$(bounded 8 "$client" --quiet --norc --port "${port:-27017}" --eval \
      'print("locked=" + (db.currentOp().fsyncLock === true) + " " + db.version())' </dev/null 2>/dev/null |
      grep '^locked=') || answer=unknown
  fi
  say "$path" "$contained" "$service" "${port:-27017}" "$(setting replSet)" "$(setting engine)" \
    "$(setting nojournal)" "$(setting auth)" "$links" "$client" "$dump" "$answer"
}
each_server mongod mongod
"""
)
# Locks are counted by the server and outlive who took them. One that somebody else holds is left alone.
_IS_LOCKED = "db.currentOp().fsyncLock === true"
_LOCK = f"if ({_IS_LOCKED}) quit(3); quit(db.fsyncLock().ok ? 0 : 1)"
_UNLOCK = f"quit({_IS_LOCKED} ? (db.fsyncUnlock().ok ? 0 : 1) : 0)"
# As long as it was held, nobody else may have unlocked it.
_RELEASE = f"quit({_IS_LOCKED} ? (db.fsyncUnlock().ok ? 0 : 1) : {NOT_HELD})"
# A lock that was asked for and never answered may still come: it waits for a flush.
_IS_COMING = f"quit({_IS_LOCKED} || db.currentOp().inprog.some(o => o.command && o.command.fsync) ? 0 : 1)"
# The words of mongo_do: seconds, script. $hold/locking is there from before the lock, $hold/locked after it.
_FUNCTIONS = r"""
mongo_do() {{
  if command -v timeout >/dev/null; then set -- "$2" timeout -s KILL "$1"; else set -- "$2"; fi
  mongo_script=$1
  shift
  "$@" {client} --eval "$mongo_script"
}} </dev/null >/dev/null
mongo_lock() {{
  : >"$hold/locking" || return 1
  mongo_do {seconds} {lock}
  case $? in
    0) : >"$hold/locked" ;;
    3) rm -f -- "$hold/locking" && echo "somebody else locked it" >&2 && return 1 ;;
    *) echo "it could not be locked" >&2 && return 1 ;;
  esac
}}
mongo_unlock() {{
  [ -e "$hold/locking" ] || return 0
  tries=0
  until [ -e "$hold/locked" ] || [ "$tries" -ge 3 ]; do
    if mongo_do 5 {coming}; then : >"$hold/locked"; else sleep 1; fi
    tries=$((tries + 1))
  done
  mongo_do 10 {unlock} && rm -f -- "$hold/locking"
}}
mongo_release() {{
  [ -e "$hold/locked" ] || {{ mongo_unlock; return; }}
  mongo_do 10 {release}
  case $? in
    0) rm -f -- "$hold/locking" ;;
    {not_held}) rm -f -- "$hold/locking" && echo "somebody else unlocked it" >&2 && return {not_held} ;;
    *) return 1 ;;
  esac
}}
"""


class MongoDb(Application):
    """An instance is a running mongod; its name is its data directory."""

    name = "mongodb"
    label = "MongoDB"

    def look(self, facts: DeviceFacts) -> Command | None:
        return Command.of("/bin/sh", "-c", _ASK)

    def parse(self, output: bytes, facts: DeviceFacts) -> tuple[Instance, ...]:
        return tuple(_make_instance(row) for row in split_fields(output, 12))

    def offers(self, instance: Instance, ground: Ground, facts: DeviceFacts) -> tuple[Offer, ...]:
        if not instance.is_running:
            return ()
        missing = " ".join(instance.problems)
        offers = []
        # MongoDB manual, "Back Up and Restore with Filesystem Snapshots": the journal on the same volume
        if ground.is_atomic and instance.places and not instance.detail("nojournal"):
            reason = f"{ground.reason}, its journal too: mongod starts on it as after a power cut"
            offers.append(Offer(SNAPSHOT, Consistency.APPLICATION, reason, missing=missing))
        # The same page: fsyncLock() first where the journal, or anything else, lies on another volume
        if not ground.is_atomic and len(instance.places) > 1 and instance.detail("client"):
            reason = "writers are locked out (fsyncLock) while each of its volumes is snapshotted"
            freeze = "writers wait for a flush and for two starts of its shell, some seconds"
            offers.append(Offer(LOCKED, Consistency.APPLICATION, reason, freeze))
        # MongoDB Database Tools, mongodump --oplog: replayed, it is the state at the end of the dump
        if instance.detail("dump") and instance.detail("replica_set") and instance.detail("client"):
            reason = "mongodump with the operations that ran meanwhile (--oplog)"
            offers.append(
                Offer(STREAM, Consistency.APPLICATION, reason, cost="every document is read and sent")
            )
        return tuple(offers)

    def recipe(self, instance: Instance, method: str, patience: Patience, scratch: str) -> Recipe:
        if method == SNAPSHOT:
            return Recipe(SNAPSHOT, Consistency.APPLICATION, paths=instance.places)
        if method == LOCKED and instance.detail("client"):
            quiesce = _lock_around(instance, patience)
            return Recipe(LOCKED, Consistency.APPLICATION, paths=instance.places, quiesce=quiesce)
        if method == STREAM and instance.detail("dump"):
            words = (instance.detail("dump"), "--host=127.0.0.1", f"--port={instance.detail('port')}")
            command = Command((*words, "--oplog", "--archive", "--quiet"))
            note = "restore: mongorestore --archive --oplogReplay"
            return Recipe(
                STREAM, Consistency.APPLICATION, streams=(Stream("mongodb.archive", command),), notes=(note,)
            )
        raise PlanRefused(f"MongoDB is not backed up by {method!r}")


def _lock_around(instance: Instance, patience: Patience) -> Quiesce:
    client = f"{quote(instance.detail('client'))} --quiet --norc --port {int(instance.detail('port'))}"
    functions = _FUNCTIONS.format(
        client=client,
        seconds=max(1, patience.freeze_ms // 1000),
        lock=quote(_LOCK),
        coming=quote(_IS_COMING),
        unlock=quote(_UNLOCK),
        release=quote(_RELEASE),
        not_held=NOT_HELD,
    )
    return Quiesce(
        label=instance.label,
        hold=f"{functions}\nmongo_lock",
        release="mongo_release",
        undo=f"{functions}\nmongo_unlock",
    )


def _make_instance(row: tuple[str, ...]) -> Instance:
    path, contained, service, port, replica_set, engine, nojournal, auth, links, client, dump, answer = row
    if not path.startswith("/") or contained not in ("0", "1") or parse_number(port, "a port") > 65535:
        raise ProtocolBroken("mongod was described in words that nobody understands", detail=repr(row)[:300])
    said, _, version = answer.partition(" ")
    if said not in ("locked=true", "locked=false", "unknown"):
        raise ProtocolBroken("mongosh answered something that nobody understands", detail=answer[:300])
    problems = []
    if contained == "1":
        problems.append("mongod runs in a container: back the container up, or plan a command for it")
    elif said == "unknown":
        why = "it wants a password" if auth else "mongosh is missing, or the server does not answer"
        problems.append(
            f"MongoDB could not be asked ({why}): no lock and no dump, only snapshots and commands"
        )
    elif said == "locked=true":
        problems.append("Somebody locked this server (fsyncLock): run db.fsyncUnlock() when nobody needs it")
    if engine == "inMemory":
        problems.append("its storage engine keeps nothing on disk: plan a command with mongodump")
    usable = not problems
    details = (
        Detail("port", port),
        Detail("replica_set", replica_set),
        Detail("nojournal", nojournal),
        Detail("client", client if usable else ""),
        Detail("dump", dump if usable else ""),
    )
    elsewhere = [
        each for each in links.split("\n") if each.startswith("/") and not each.startswith(f"{path}/")
    ]
    places = tuple(dict.fromkeys((path, *elsewhere))) if contained == "0" and engine != "inMemory" else ()
    return Instance(
        "mongodb", path, f"MongoDB {path}", version, places, service, True, details, tuple(problems)
    )
