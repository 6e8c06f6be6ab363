"""PostgreSQL comes back to a moment: its log is replayed on the restored files, in the staging.

The server that replays is ours: our configuration, no port, no library and no command of the restored one. So
the old server works until the end of it, and what cannot reach the moment has replaced nothing.

PostgreSQL's sources, xlogrecovery.c: files of a snapshot (no backup_label) recover from their own log first
and then enter archive recovery; those of a base backup enter it at once. Both stop before the first commit
later than the target. Where nothing was committed after it PostgreSQL says that the target was not reached:
then all of the log is the state at that moment, if all of the log is there, which its end shows.
"""

from __future__ import annotations

import posixpath
from dataclasses import replace
from datetime import UTC

from agents.applications.comebacks import AS_OWNER, Course, Fetch, Log, Preparation
from agents.applications.postgresql_answers import names_of
from agents.errors import PlanRefused

_OURS = r"""
listen_addresses = ''
port = 5432
unix_socket_directories = '/mnt/hotfleet-wal'
hba_file = '/mnt/hotfleet-wal/hba'
ident_file = '/mnt/hotfleet-wal/ident'
restore_command = 'cp "hotfleet-wal/%f" "%p"'
recovery_target_action = promote
recovery_target_timeline = current
hot_standby = off
archive_mode = off
wal_level = logical
max_wal_senders = 0
max_replication_slots = 1000
max_logical_replication_workers = 0
logging_collector = off
log_destination = stderr
lc_messages = C
timezone = UTC
log_timezone = UTC
ssl = off
autovacuum = off
jit = off
"""
# Runs as the owner, in his data directory, which he sees as /mnt. $1 the programs' directory, $2 the moment
# or nothing, $3 the position that must be reached (0: not known).
_REPLAY_AS_OWNER = r"""
set -u
bin=$1 until=$2 whole=$3 ours=hotfleet-wal
umask 077
fail() { # a sentence
  tail -n 25 "$ours/log" >&2
  printf '%s\n' "$1" >&2
  exit 1
}
control() { # a line of pg_controldata, and what it is without one
  said=$("$bin/pg_controldata" -D /mnt | sed -n "s/^$1 setting: *\([a-z0-9]\{1,6\}\)\$/\1/p")
  echo "${said:-$2}"
}
replay() { # settings; succeeds once the server took up its work on what was replayed
  "$bin/postgres" -D /mnt -c config_file=/mnt/hotfleet-wal/postgresql.conf "$@" </dev/null >"$ours/log" 2>&1 &
  server=$!
  until "$bin/pg_isready" -q -h /mnt/hotfleet-wal -p 5432; do
    kill -0 "$server" 2>/dev/null || return 1
    sleep 0.2 2>/dev/null || sleep 1
  done
}
# settings of the restored cluster count for nothing, until it runs at home again
[ ! -e postgresql.auto.conf ] || mv postgresql.auto.conf "$ours/kept" || exit 1
rm -rf standby.signal postmaster.pid postmaster.opts pg_replslot/hotfleet_*
: >"$ours/ident" && : >recovery.signal && echo 'local all all peer' >"$ours/hba" || exit 1
{
  echo "max_connections = $(control max_connections 100)"
  echo "max_prepared_transactions = $(control max_prepared_xacts 0)"
  echo "max_locks_per_transaction = $(control max_locks_per_xact 64)"
  echo "track_commit_timestamp = $(control track_commit_timestamp off)"
} >>"$ours/postgresql.conf" || exit 1
if [ -z "$until" ]; then
  replay || fail 'the log could not be replayed'
elif ! replay -c recovery_target_time="$until"; then
  grep -q 'recovery ended before configured recovery target was reached' "$ours/log" ||
    fail "the log could not be replayed to $until"
  wait "$server"
  rm -f postmaster.pid
  replay || fail 'the log could not be replayed'
fi
committed=$(sed -n 's/.*last completed transaction was at log time //p' "$ours/log" | tail -n 1)
ended=$(for each in pg_wal/????????.history; do printf '%s\n' "$each"; done | tail -n 1)
ended=$(grep . "$ended" | tail -n 1) && [ -n "$ended" ] || fail 'it did not come to a timeline of its own'
# shellcheck disable=SC2086 # timeline, position, reason
set -- $ended
case $2 in *[!0-9A-F/]* | */*/* | /* | */) fail "it ended at $2" ;; */*) ;; *) fail "it ended at $2" ;; esac
reached=$((0x${2%/*} * 4294967296 + 0x${2#*/}))
case $ended in
  # the end of a record may be told behind the header of the next page
  *'no recovery target'*) [ $((reached + 64)) -ge "$whole" ] ||
    fail "the log ends at $2, and more of it was there: a part is missing or not whole" ;;
esac
kill -s INT "$server" && wait "$server" || fail 'it did not stop in order'
[ ! -e "$ours/kept" ] || mv -f "$ours/kept" postgresql.auto.conf || exit 1
rm -rf "$ours" recovery.signal postmaster.pid postmaster.opts
echo "note Its log was replayed to $2${committed:+; its last transaction is of $committed}."
"""
# $1 the name of the data directory, $2 the folder of the log, $3 the size of a segment, $4 the moment, $5 the
# position, $6 our configuration, $7 the owner's program. Root touches what the owner cannot reach meanwhile.
_REPLAY = (
    AS_OWNER
    + r"""
set -u
umask 077
data=new/$1 log=raw/$2
for link in "$data/pg_wal" "$data"/pg_tblspc/*; do
  [ ! -L "$link" ] || { echo 'its links lead to the original: nothing is replayed there' >&2; exit 1; }
done
version=$(head -c 16 "$data/PG_VERSION") || exit 1
bin=''
other=$(command -v postgres)
for each in "/usr/lib/postgresql/$version/bin" "/usr/pgsql-$version/bin" "${other%/*}"; do
  [ ! -x "$each/postgres" ] || [ ! -x "$each/pg_controldata" ] || { bin=$each; break; }
done
[ -n "$bin" ] || { echo "PostgreSQL $version is not installed here: install that version" >&2; exit 1; }
rm -rf "$data/hotfleet-wal" && mv -T "$log" "$data/hotfleet-wal" || exit 1
# the newest one was not full yet
find "$data/hotfleet-wal" -type f -size "-${3}c" -exec truncate -s "$3" {} + || exit 1
printf '%s\n' "$6" >"$data/hotfleet-wal/postgresql.conf" || exit 1
chmod 0700 "$data" "$data/hotfleet-wal" || exit 1
chown -R -h "$(stat -c %u:%g "$data")" "$data/hotfleet-wal" || exit 1
as_owner_of "$data" /bin/sh -c "$7" replay "$bin" "$4" "$5"
"""
)


def replay_log(course: Course, log: Log) -> Course:
    """Given a course of a whole cluster, return that to a moment. Raise PlanRefused when its files lie in
    several places: links would lead the server that replays to those of the original."""
    home = course.home
    has_tablespaces = home.instance is not None and bool(names_of(home.instance, "tablespace"))
    if len(course.seats) > 1 or has_tablespaces:
        raise PlanRefused(
            f"the files of {home.label} lie in several places: their log cannot be replayed beside them",
            remedy="Bring it back as it was at a restore point.",
        )
    folders = {posixpath.basename(path) for part in log.parts for path in part.paths}
    if len(folders) != 1:
        raise PlanRefused(f"the log of {home.label} is not of one piece")
    until = "" if log.until is None else f"{log.until.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}+00"
    words = (posixpath.basename(course.seats[0].path), folders.pop(), str(log.segment_bytes), until)
    label = f"{home.label}: replay its log to {until or 'its end'}"
    replay = Preparation(
        0, label, _REPLAY, (*words, str(log.whole), _OURS, _REPLAY_AS_OWNER), timeout_s=24 * 3600
    )
    fetches = tuple(Fetch(0, part, path, is_raw=True) for part in log.parts for path in part.paths)
    return replace(course, fetches=(*course.fetches, *fetches), preparations=(*course.preparations, replay))
