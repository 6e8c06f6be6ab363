"""Redis comes back: its directory as it was, or one made from the RDB file of a stream."""

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
from agents.applications.recipes import STREAM
from agents.applications.stored import Stored
from agents.commands import Command
from agents.facts import Instance

_ARCHIVE = "dump.rdb"
# $1 the name of the directory, $2 the user, $3 where its append-only files are, $4 the version.
# With appendonly on, a server reads its append-only files and no RDB file, and where there are none it starts
# empty: so both are made, of the same bytes. An RDB file is a valid base of append-only files (Redis 7), and
# a valid beginning of the one file of older versions (https://redis.io/docs, "Append-only file").
_MAKE = (
    AS_OWNER
    + r"""
set -u
find_owner "$1" "$2" || exit 1
check=$(command -v redis-check-rdb || command -v valkey-check-rdb) ||
  { echo 'redis-check-rdb is not installed here: install redis-tools' >&2; exit 1; }
"$check" raw/dump.rdb >raw/said 2>&1 || { tail -n 3 raw/said >&2; exit 1; }
keys=$(sed -n 's/.*\[info\] \([0-9]*\) keys read.*/\1/p' raw/said)
echo "note The RDB file is whole and holds $keys keys."
# redis-cli cannot cut the mark off that ends a transfer, and append-only files are read to their last byte
end=$(sed -n 's/.*\[offset \([0-9]*\)\] Checksum OK.*/\1/p' raw/said)
case $end in '' | *[!0-9]*) echo 'nobody can tell where the RDB file ends' >&2; exit 1 ;; esac
truncate -s "$end" raw/dump.rdb || exit 1
rdb=dump.rdb base=appendonly.aof
for file in "../$1"/*.rdb; do [ ! -f "$file" ] || rdb=${file##*/}; done
for file in "../$1/$3"/*.manifest; do [ ! -f "$file" ] || { base=${file##*/} base=${base%.manifest}; }; done
mkdir -m 0750 "new/$1" && mv raw/dump.rdb "new/$1/$rdb" || exit 1
case $4 in
  [1-6].*) cp --reflink=auto "new/$1/$rdb" "new/$1/$base" || exit 1 ;;
  *)
    mkdir -m 0750 "new/$1/$3" && cp --reflink=auto "new/$1/$rdb" "new/$1/$3/$base.1.base.rdb" || exit 1
    : >"new/$1/$3/$base.1.incr.aof"
    printf 'file %s.1.base.rdb seq 1 type b\nfile %s.1.incr.aof seq 1 type i\n' "$base" "$base" \
      >"new/$1/$3/$base.manifest" || exit 1
    ;;
esac
chown -R -h "$owner" "new/$1"
"""
)
_ASK = r"""
said=$("$@" dbsize 2>&1) || exit 1
case $said in '' | *[!0-9]*) printf '%s\n' "$said" >&2; exit 1 ;; esac
"""


class RedisComeback(Comeback):
    name = "redis"
    owner = "redis"
    usual = {"/var/lib/redis": "redis-server", "/var/lib/valkey": "valkey-server"}

    def choices(self, stored: Stored, home: Home) -> tuple[Choice, ...]:
        where = f"all of it replaces {home.data}; what is there is kept until the new answers"
        return (Choice(Way.IN_PLACE, True, where),)

    def course(self, stored: Stored, home: Home, keeper: Keeper) -> Course:
        if stored.is_files:
            return course_of_files(stored, home, keeper, ())
        if stored.way != STREAM:
            raise refuse_method(stored)
        fetch = Fetch(0, stored.part(_ARCHIVE), f"/{_ARCHIVE}", is_raw=True)
        folder = name_of(home.detail("appenddirname")) or "appendonlydir"
        version = home.instance.version if home.instance is not None else ""
        words = (name_of(home.data), home.owner, folder, version)
        make = Preparation(0, f"{home.label}: check the RDB file and make a directory of it", _MAKE, words)
        return Course(home, keeper, (Seat(home.data),), (fetch,), (make,), factor=2)

    def answers(self, instance: Instance) -> bool:
        return instance.is_running and bool(instance.version) and instance.detail("loading") in ("", "0")

    def checks(self, instance: Instance) -> tuple[Check, ...]:
        socket, (address, _, port) = instance.detail("socket"), instance.detail("tcp").partition(" ")
        way = ("-s", socket) if socket else ("-h", address, "-p", port)
        words = (instance.detail("client"), *way)
        return (Check("its keys are counted", Command.of("/bin/sh", "-c", _ASK, "hotfleet", *words)),)
