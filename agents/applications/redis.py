"""Redis and Valkey: a stream of the whole data set (RDB), or a snapshot with the append-only file."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from agents.applications.contract import Application
from agents.applications.processes import BOUNDED
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
from agents.applications.redis_look import look_command
from agents.applications.work import COMMANDS_S, FORK_MS, find_rise, find_seconds, read_count
from agents.commands import Command, join
from agents.errors import PlanRefused, ProtocolBroken
from agents.events import Consistency
from agents.facts import Detail, DeviceFacts, Instance
from agents.facts.wire import parse_number, split_fields

_LOGIN_REMEDY = (
    "Hotfleet keeps no passwords of databases: let root in through a unix socket without one (an ACL user), "
    "back its folder up with crash consistency, or use your own command (redis-cli --rdb -)."
)
_KNOWN = (
    "role", "loading", "used_memory", "latest_fork_usec", "aof_enabled", "aof_last_write_status",
    "rdb_last_save_time", "rdb_last_bgsave_status", "cluster_enabled", "process_id", "appenddirname",
    "auto-aof-rewrite-percentage", "total_commands_processed", "uptime_in_seconds", "run_id",
)  # fmt: skip

# https://redis.io/docs/latest/operate/oss_and_stack/management/persistence/, "Backing up AOF persistence": no
# rewrite of the append-only file may be on its way while its directory is copied.
_ASKING = (
    BOUNDED
    + """
ask() { bounded 5 {client} "$@" </dev/null 2>&1 | tr -d '\\r'; }
is_rewriting() {
  case $(ask info persistence) in
    *aof_rewrite_in_progress:0*aof_rewrite_scheduled:0*) return 1 ;;
  esac
}
"""
)
_PERCENTAGE = """
percentage() { ask config get auto-aof-rewrite-percentage | tail -n 1; }
set_percentage() { [ "$(ask config set auto-aof-rewrite-percentage "$1")" = OK ]; }
rewrite_as_before() {
  earlier=''
  { read -r earlier <"$hold/earlier"; } 2>/dev/null || return 0
  # a server that was started anew has the value of its configuration
  case $(ask info server) in
    *"process_id:{pid}"*) set_percentage "$earlier" && rm -f -- "$hold/earlier" ;;
    *) [ ! -e /proc/{pid} ] && rm -f -- "$hold/earlier" ;;
  esac
}
"""
_BEFORE = """
tries=0
while is_rewriting; do
  tries=$((tries + 1))
  if [ "$tries" -gt 30 ]; then
    echo 'its append-only file is being rewritten, which does not end: no rewrite was forbidden' >&2
    exit 1
  fi
  sleep 1
done
"""
_HOLD = """
earlier=$(percentage)
case $earlier in '' | *[!0-9]*) echo 'it does not tell how often it rewrites' >&2; return 1 ;; esac
printf '%s\\n' "$earlier" >"$hold/earlier" || return 1
set_percentage 0 || {{ echo 'it lets nobody forbid a rewrite' >&2; return 1; }}
tries=0
while is_rewriting; do # one that began before it was forbidden
  tries=$((tries + 1))
  if [ "$tries" -gt {tries} ]; then echo 'a rewrite of its append-only file does not end' >&2; return 1; fi
  sleep 0.1 2>/dev/null || sleep 1
done
"""
_RELEASE = """
held=0
if is_rewriting; then held={not_held}; echo 'its append-only file was rewritten meanwhile' >&2; fi
[ ! -e "$hold/earlier" ] || [ "$(percentage)" = 0 ] || held={not_held}
rewrite_as_before && return "$held"
"""


@dataclass(slots=True)
class _Server:
    """What the script said about one server. `pid` 0: it does not run."""

    pid: int
    directory: str
    service: str
    said: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


class Redis(Application):
    name = "redis"
    label = "Redis"

    def look(self, facts: DeviceFacts) -> Command | None:
        return look_command(facts)

    def parse(self, output: bytes, facts: DeviceFacts) -> tuple[Instance, ...]:
        programs: dict[str, str] = {}
        servers: list[_Server] = []
        for word, name, value, other in split_fields(output, 4):
            if word == "program":
                programs[name] = value
            elif word == "server":
                servers.append(_Server(parse_number(name, "a process id"), value, other))
            elif not servers or word not in ("port", "unix", "socket", "tcp", "said", "failed"):
                raise ProtocolBroken("a word about a Redis server is unknown", detail=repr(word[:80]))
            elif word == "failed":
                servers[-1].failed[name] = value
            else:
                servers[-1].said[name if word == "said" else word] = (
                    f"{name} {value}" if word == "tcp" else value
                )
        found = {each.name: each for each in (_make_instance(server, programs) for server in servers)}
        return tuple(found.values())

    def offers(self, instance: Instance, ground: Ground, facts: DeviceFacts) -> tuple[Offer, ...]:
        if not instance.is_running or not instance.version:
            return ()
        offers = []
        missing = _why_no_snapshot(instance, ground)
        if not missing:
            reason = f"{ground.reason}, the append-only file too, and no rewrite of it begins meanwhile"
            offers.append(
                Offer(SNAPSHOT, Consistency.APPLICATION, reason, "nothing waits", "the space of what changes")
            )
        # The same page: an RDB file is the data set at one point in time.
        fork = int(instance.detail("latest_fork_usec") or 0) / 1000
        freeze = f"nothing is answered during one fork (the last took {fork:.0f} ms)" if fork else "one fork"
        cost = f"memory for what changes until it is sent ({instance.detail('used_memory')} bytes at most)"
        reason = "a child of the server sends its whole data set as it is at one moment"
        missing = " ".join(filter(None, (missing, _memory_warning(instance, facts))))
        offers.append(Offer(STREAM, Consistency.APPLICATION, reason, freeze, cost, missing))
        return tuple(offers)

    def recipe(self, instance: Instance, method: str, patience: Patience, scratch: str) -> Recipe:
        client = (instance.detail("client"), *_address(instance))
        if method == STREAM:
            note = (
                "Restore: put dump.rdb into an empty directory and start with appendonly off: an append-only "
            )
            note += "file that exists would be read instead of it."
            stream = Stream("dump.rdb", Command.of(*client, "--rdb", "-"))
            return Recipe(STREAM, Consistency.APPLICATION, streams=(stream,), notes=(note,))
        if method == SNAPSHOT:
            quiesce = _quiesce(instance, join(client), patience)
            return Recipe(SNAPSHOT, Consistency.APPLICATION, instance.places, quiesce=quiesce)
        raise PlanRefused(f"Redis is not backed up by {method!r}")

    def work(self, earlier: Instance, later: Instance) -> Mapping[str, float]:
        seconds = find_seconds(earlier, later, clock="uptime_in_seconds", started="run_id")
        commands = find_rise(earlier, later, "total_commands_processed")
        did = {COMMANDS_S: commands / seconds} if seconds is not None and commands is not None else {}
        fork_us = read_count(later, "latest_fork_usec")
        # It tells of the last one only: when the number is the same, there was none.
        if fork_us and fork_us != read_count(earlier, "latest_fork_usec"):
            did[FORK_MS] = fork_us / 1000
        return did


def _quiesce(instance: Instance, client: str, patience: Patience) -> Quiesce:
    pid = str(parse_number(instance.detail("process_id"), "a process id"))
    asking = _ASKING.replace("{client}", client)
    functions = f"{asking}\n{_PERCENTAGE.replace('{pid}', pid)}"
    return Quiesce(
        label=instance.label,
        hold=f"{functions}\n{_HOLD.format(tries=patience.freeze_ms // 200)}",
        release=_RELEASE.format(not_held=NOT_HELD),
        undo=f"{functions}\nrewrite_as_before",
        before=(Command.of("/bin/sh", "-c", f"{asking}\n{_BEFORE}", "hotfleet"),),
        waits=False,
    )


def _address(instance: Instance) -> tuple[str, ...]:
    if instance.detail("socket"):
        return ("-s", instance.detail("socket"))
    address, _, port = instance.detail("tcp").partition(" ")
    return ("-h", address, "-p", port)


def _make_instance(server: _Server, programs: dict[str, str]) -> Instance:
    place = server.directory
    if not place.startswith("/") or posixpath.normpath(place) != place:
        raise ProtocolBroken("the directory of a Redis server is no real one", detail=repr(place[:300]))
    version = re.match(r"\d{1,3}\.\d{1,3}\.\d{1,3}", server.said.get("redis_version", ""))
    details = [Detail(name, server.said[name]) for name in ("socket", "tcp", *_KNOWN) if name in server.said]
    details += [Detail(name, programs[name]) for name in ("client", "overcommit") if name in programs]
    for name in ("used_memory", "latest_fork_usec"):
        parse_number(server.said.get(name, "0"), name)
    # where it listens, whether it lets us in or not: a name must not change with that
    name = server.said.get("port") or server.said.get("unix") or place
    is_valkey = "valkey_version" in server.said
    return Instance(
        application="redis",
        name=name,
        label=f"{'Valkey' if is_valkey else 'Redis'} {name}",
        version=version[0] if version is not None else "",
        places=(place,) if place != "/" else (),
        service=server.service,
        is_running=server.pid > 0,
        details=tuple(details),
        problems=tuple(_problems(server)),
    )


def _problems(server: _Server) -> list[str]:
    if server.pid == 0:
        return []
    if "redis_version" not in server.said:
        why = server.failed.get("state", "it gave no answer that makes sense").strip()
        return [f"It could not be asked: {why}. {_LOGIN_REMEDY}"]
    said = []
    if "config" in server.failed:
        said.append("It does not answer CONFIG GET: rewrites of its append-only file cannot be held off.")
    if (
        server.said.get("aof_last_write_status", "ok") != "ok"
        or server.said.get("rdb_last_bgsave_status") == "err"
    ):
        said.append("It could not save its data the last time it tried: look at its log.")
    return said


def _why_no_snapshot(instance: Instance, ground: Ground) -> str:
    if instance.detail("aof_enabled") != "1":
        return "With appendonly yes, a snapshot would need no fork."
    if (
        int(instance.version.split(".")[0]) < 7
        or not instance.detail("auto-aof-rewrite-percentage").isdigit()
    ):
        return "A snapshot needs Redis 7 or newer, and its command CONFIG."
    if not ground.is_atomic:
        return f"{ground.reason}. {ground.remedy}".strip()
    return ""


def _memory_warning(instance: Instance, facts: DeviceFacts) -> str:
    used = int(instance.detail("used_memory") or 0)
    if instance.detail("overcommit") != "1" and used > facts.system.memory_free_bytes:
        return "The fork may fail for want of memory: set vm.overcommit_memory to 1, as Redis' log asks for."
    return ""
