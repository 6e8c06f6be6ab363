"""Docker: the volumes of a container, and the database inside of it by its own program.

Written against Docker's documentation: not exercised against a daemon (docs/operate.md says so)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from agents.applications.contract import Application
from agents.applications.processes import FUNCTIONS
from agents.applications.recipes import DUMP, SNAPSHOT, Ground, Offer, Patience, Recipe, Stream
from agents.commands import Command
from agents.errors import PlanRefused, ProtocolBroken
from agents.events import Consistency
from agents.facts import Detail, DeviceFacts, Instance
from agents.facts.wire import split_fields

# Of what docker says only this leaves the device: variables and labels hold passwords.
_FORMAT = (
    '{"name":{{json .Name}},"image":{{json .Config.Image}},"running":{{json .State.Running}},'
    '"paused":{{json .State.Paused}},"mounts":{{json .Mounts}},'
    '"swarm":{{json (index .Config.Labels "com.docker.swarm.service.name")}}}'
)
_ASK = (
    FUNCTIONS
    + r"""
format=$1
command -v docker >/dev/null || exit 0
for id in $(bounded 5 docker ps -aq --no-trunc </dev/null 2>/dev/null | head -n 200); do
  ! is_late || break
  seen=$(bounded 5 docker inspect --type container -f "$format" -- "$id" </dev/null 2>/dev/null) || continue
  names=$(bounded 5 docker top "$id" -eo pid,comm </dev/null 2>/dev/null | awk 'NR > 1 { print $2 }')
  say "$seen" "$names"
done
"""
)
# Below these a container has no data of its own.
_NOT_DATA = ("/proc", "/sys", "/dev", "/run", "/var/run")
_FIND_ROOT = """
for name in MARIADB MYSQL; do
  eval "word=\\${${name}_ROOT_PASSWORD-} file=\\${${name}_ROOT_PASSWORD_FILE-}"
  [ -z "$file" ] || word=$(cat "$file")
  [ -z "$word" ] || export MYSQL_PWD="$word"
done
"""


@dataclass(frozen=True, slots=True)
class Inside:
    """A database in a container: the names of its process, and the shell that prints all of it in there."""

    label: str
    processes: tuple[str, ...]
    stream: str
    script: str
    reason: str


# Whose tables a transaction does not hold still: a dump would read them while they change.
_REFUSE_OTHERS = """
client=$(command -v mariadb || command -v mysql) || exit 127
others=$("$client" -u root --batch --skip-column-names -e "select count(*) from information_schema.tables
  where table_schema not in ('mysql', 'information_schema', 'performance_schema', 'sys')
  and engine not in ('InnoDB', 'MEMORY', 'BLACKHOLE', 'SEQUENCE')") || exit 1
if [ "$others" != 0 ]; then
  echo "$others tables know no transactions (MyISAM, Aria): take a snapshot of the container instead" >&2
  exit 1
fi
"""

# pg_dump(1): "consistent backups even if the database is being used concurrently".
# mariadb-dump: --single-transaction is "a consistent snapshot" of transactional tables (InnoDB).
# Redis, "Persistence": an RDB file is the data set at one point in time.
_INSIDES = (
    Inside(
        "PostgreSQL",
        ("postgres",),
        "postgresql.sql",
        'exec pg_dumpall -w -U "${POSTGRES_USER:-postgres}"',
        "pg_dumpall prints every database in a transaction of its own",
    ),
    Inside(
        "MariaDB or MySQL",
        ("mariadbd", "mysqld"),
        "mysql.sql",
        _FIND_ROOT
        + _REFUSE_OTHERS
        + "program=$(command -v mariadb-dump || command -v mysqldump) || exit 127\n"
        + 'exec "$program" -u root --single-transaction --all-databases --routines --events --triggers',
        "its dump is one transaction; it fails where tables know no transactions (MyISAM)",
    ),
    Inside(
        "Redis or Valkey",
        ("redis-server", "valkey-server"),
        "dump.rdb",
        "program=$(command -v valkey-cli || command -v redis-cli) || exit 127\n"
        'exec "$program" --no-auth-warning --rdb -',
        "the server forks and sends one moment of its data",
    ),
)


class Docker(Application):
    """An instance is a container that has data; its name is the container's."""

    name = "docker"
    label = "Docker"

    def look(self, facts: DeviceFacts) -> Command | None:
        return Command.of("/bin/sh", "-c", _ASK, "look", _FORMAT)

    def parse(self, output: bytes, facts: DeviceFacts) -> tuple[Instance, ...]:
        found = [_make_instance(seen, names) for seen, names in split_fields(output, 2)]
        return tuple(each for each in found if each.places or each.problems or each.detail("inside"))

    def offers(self, instance: Instance, ground: Ground, facts: DeviceFacts) -> tuple[Offer, ...]:
        if not instance.is_running:
            return ()
        offers = []
        inside = _find_inside(instance)
        if inside is not None:
            cost = "all of it is read and sent each time"
            offers.append(Offer(DUMP, Consistency.APPLICATION, f"{inside.label}: {inside.reason}", cost=cost))
        if ground.is_atomic and instance.places:
            reason = f"{ground.reason}; what runs in the container is not asked to hold still"
            offers.append(Offer(SNAPSHOT, Consistency.CRASH, reason, missing=" ".join(instance.problems)))
        return tuple(offers)

    def recipe(self, instance: Instance, method: str, patience: Patience, scratch: str) -> Recipe:
        inside = _find_inside(instance)
        if method == SNAPSHOT:
            return Recipe(SNAPSHOT, Consistency.CRASH, paths=instance.places)
        if method != DUMP or inside is None:
            raise PlanRefused(f"the container {instance.name} is not backed up by {method!r}")
        command = Command.of("docker", "exec", "--", instance.name, "sh", "-c", inside.script)
        return Recipe(DUMP, Consistency.APPLICATION, streams=(Stream(inside.stream, command),))


def _find_inside(instance: Instance) -> Inside | None:
    return next((each for each in _INSIDES if each.label == instance.detail("inside")), None)


def _make_instance(seen: str, names: str) -> Instance:
    container = _read(seen)
    name = container["name"].removeprefix("/")
    running = set(names.split())
    inside = next((each.label for each in _INSIDES if running.intersection(each.processes)), "")
    places, problems = _find_places(container["mounts"])
    if container["paused"]:
        problems.append("it is paused: what runs in it answers nobody")
    is_service = bool(container["swarm"])
    if is_service:
        problems.append("it belongs to a swarm service, which would start another one: never cold by itself")
    usable = container["running"] and not container["paused"]
    return Instance(
        "docker",
        name,
        f"Container {name}",
        container["image"],
        places,
        "" if is_service else f"container:{name}",
        container["running"],
        (Detail("inside", inside if usable else ""),),
        tuple(problems),
    )


def _read(seen: str) -> dict[str, Any]:
    """Given what docker printed of a container, return its fields. Raise ProtocolBroken for other types."""
    wanted: dict[str, type | tuple[type, ...]] = {
        "name": str,
        "image": str,
        "running": bool,
        "paused": bool,
        "mounts": list,
        "swarm": (str, type(None)),
    }
    try:
        container = json.loads(seen)
    except ValueError as error:
        raise ProtocolBroken("docker printed something that is no JSON", detail=seen[:300]) from error
    if not isinstance(container, dict) or any(
        name not in container or not isinstance(container[name], kind) for name, kind in wanted.items()
    ):
        raise ProtocolBroken("docker described a container in unknown words", detail=seen[:300])
    name = container["name"].removeprefix("/")
    if (
        not name
        or name[0] == "-"
        or not name.isprintable()
        or any(each.isspace() or each == "/" for each in name)
    ):
        raise ProtocolBroken("docker named a container as nobody can", detail=seen[:300])
    return container


def _find_places(mounts: list[Any]) -> tuple[tuple[str, ...], list[str]]:
    """Return what the container may write outside of itself, and what is out of reach."""
    places: dict[str, None] = {}
    problems = []
    for mount in mounts:
        if not isinstance(mount, dict) or not isinstance(mount.get("Source", ""), str):
            raise ProtocolBroken("docker described a mount in unknown words", detail=repr(mount)[:300])
        source = mount.get("Source", "")
        if mount.get("Type") not in ("volume", "bind") or mount.get("RW") is not True:
            continue
        if any(source == each or source.startswith(f"{each}/") for each in _NOT_DATA):
            continue
        if not source.startswith("/") or source == "/":
            target = mount.get("Destination", "")
            problems.append(f"what it sees as {target!s:.200} is no directory of this device: not stored")
        else:
            places[source] = None
    return tuple(places), problems
