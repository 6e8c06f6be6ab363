"""Which databases run on a device, or left data there. Seen, not asked: nothing connects to them."""

from __future__ import annotations

from dataclasses import dataclass

from agents.commands import Command
from agents.facts.wire import parse_number, split_fields

# comm of the server process -> the application
SERVERS = {
    "postgres": "postgresql",
    "mariadbd": "mariadb",
    "mysqld": "mysql",
    "redis-server": "redis",
    "valkey-server": "redis",
    "mongod": "mongodb",
}
_DIRECTORIES = {
    "/var/lib/postgresql": "postgresql",
    "/var/lib/mysql": "mysql",
    "/var/lib/redis": "redis",
    "/var/lib/valkey": "redis",
    "/var/lib/mongodb": "mongodb",
}
_SCRIPT = rf"""
for process in /proc/[0-9]*; do
  {{ read -r name <"$process/comm"; }} 2>/dev/null || continue
  case $name in
    {" | ".join(SERVERS)})
      {{ read -r stat <"$process/stat"; }} 2>/dev/null || continue
      set -- ${{stat##*) }}
      printf '%s\0' process "$name" "${{process#/proc/}}" "$2" "$(readlink "$process/cwd")"
      ;;
  esac
done
for directory in {" ".join(_DIRECTORIES)}; do
  [ ! -d "$directory" ] || printf '%s\0' directory "$directory" 0 0 "$directory"
done
for socket in /run/postgresql/.s.PGSQL.* /run/mysqld/mysqld.sock /run/redis/redis-server.sock; do
  case $socket in *.lock) continue ;; esac
  [ ! -S "$socket" ] || printf '%s\0' socket "$socket" 0 0 "$socket"
done
"""
DATABASES = Command.of("sh", "-c", _SCRIPT)


@dataclass(frozen=True, slots=True)
class DatabaseSeen:
    """`seen_as` is "process", "directory" or "socket". A process' `place` is its working directory, which is
    the data directory of PostgreSQL, MySQL and MariaDB and where Redis dumps."""

    application: str
    seen_as: str
    place: str
    pid: int


def parse_databases(output: bytes) -> tuple[DatabaseSeen, ...]:
    """Given what the command printed, return the databases without the children of a server."""
    rows = split_fields(output, 5)
    pids = {row[2] for row in rows if row[0] == "process"}
    seen = []
    for seen_as, name, pid, parent, place in rows:
        if seen_as == "process" and parent in pids:
            continue
        number = parse_number(pid, "a process id")
        seen.append(DatabaseSeen(_application(seen_as, name), seen_as, place, number))
    return tuple(seen)


def _application(seen_as: str, name: str) -> str:
    if seen_as == "process":
        return SERVERS.get(name, name)
    if seen_as == "directory":
        return _DIRECTORIES.get(name, name)
    return next((word for word in ("postgresql", "mysql", "redis") if f"/{word}" in name), name)
