"""What is asked about the PostgreSQL clusters of a device, and the shell that asks it.

Only the search runs as root. Whoever owns a data directory may put a link, a pipe or a program in it: it is
read, and its server asked, as its owner, who answers for this cluster alone. A server that hangs is left.
"""

from __future__ import annotations

from agents.applications.processes import BOUNDED, FUNCTIONS
from agents.commands import Command

# One line of JSON each: what psql warns of stands on lines of its own. For 9.4 and later.
_STATE_SQL = """
select replace(json_build_object(
  'version', current_setting('server_version_num')::int,
  'is_standby', pg_is_in_recovery(),
  'settings', (select json_object_agg(name, setting) from pg_settings where name in
    ('archive_mode', 'config_file', 'data_checksums', 'data_directory', 'full_page_writes',
     'max_replication_slots', 'max_wal_senders', 'wal_level')),
  'databases', (select json_agg(json_build_array(datname, datallowconn) order by oid) from pg_database),
  'tablespaces', (select json_agg(json_build_array(spcname, pg_tablespace_location(oid))) from pg_tablespace),
  'role', current_user,
  'is_superuser', (select rolsuper from pg_roles where rolname = current_user),
  'may_checkpoint', exists (select from pg_roles where rolname = 'pg_checkpoint'
                            and pg_has_role(current_user, oid, 'usage')),
  'may_replicate', (select rolsuper or rolreplication from pg_roles where rolname = current_user),
  'counted_at', extract(epoch from clock_timestamp()),
  'started_at', extract(epoch from pg_postmaster_start_time()),
  'transactions', (select sum(xact_commit + xact_rollback) from pg_stat_database),
  'active_ms', (select sum((row_to_json(each)->>'active_time')::float8) from pg_stat_database each)
)::text, chr(10), ' ')
"""
# Apart: it looks at every file of every database, and may not end in time.
_SIZES_SQL = """
select replace(json_agg(json_build_array(datname, pg_database_size(oid)))::text, chr(10), ' ')
from pg_database
"""

# Runs as the owner of the data directory. $1 the directory, $2 the process or 0, $3 the programs' directory,
# $4 and $5 the questions. Prints at its end, in one go: whoever is killed meanwhile has printed nothing.
_INNER = (
    BOUNDED
    + r"""
cd /
psql=psql data=$1 pid=$2 state_sql=$4 sizes_sql=$5
programs=$3
set -- version "$(head -c 16 -- "$data/PG_VERSION" 2>/dev/null)" ''
# the server's own first: others on the PATH may be older than it is
for name in psql pg_basebackup pg_dump pg_dumpall; do
  found=$programs/$name
  [ -x "$found" ] || found=$(command -v "$name") || continue
  set -- "$@" program "$name" "$found"
  [ "$name" != psql ] || psql=$found
done
# everything of the data that may lie elsewhere: pg_wal, tablespaces, and what somebody moved by hand
for entry in "$data"/base "$data"/global "$data"/pg_* "$data"/base/* "$data"/pg_tblspc/*; do
  [ -L "$entry" ] || continue
  target=$(readlink -f -- "$entry" && printf .) || target=''
  target=${target%.}
  set -- "$@" place "$entry" "${target%?}"
done
ask() { # connection, query; sets $answer
  answer=$(bounded 6 "$psql" -X -q -w -A -t -d "$1" -c "$2" 2>&1)
}
# busybox has others, which cannot do what a copy needs
case $(bounded 2 tar --version 2>/dev/null)$(printf 123 | head -c -2 2>/dev/null) in
  *GNU*1) ;;
  *) set -- "$@" failed tools 'GNU tar and coreutils are missing' ;;
esac
is_silent() { # a server that hangs is not asked twice
  case $answer in '' | *'timeout expired'*) : ;; *) false ;; esac
}
ask_state() { # template1 only where there is no postgres: nobody can make a database while we are in it
  database=$1
  ask "dbname=$1" "$state_sql"
}
if [ "$pid" != 0 ]; then
  running='' port='' socket=''
  { read -r running && read -r _ && read -r _ && read -r port && IFS= read -r socket
  } <"$data/postmaster.pid"
  set -- "$@" server "$socket" "$port"
  export PGHOST="$socket" PGPORT="$port" PGCONNECT_TIMEOUT=4 PGAPPNAME=hotfleet
  export PGOPTIONS='-c statement_timeout=4000 -c lock_timeout=1000'
  if [ "$running" != "$pid" ] || [ -z "$socket" ]; then
    set -- "$@" failed state "postmaster.pid names no unix socket of process $pid"
  elif ask_state postgres || { ! is_silent && ask_state template1; }; then
    set -- "$@" said state "$answer" said database "$database"
    if ask "dbname=$database" "$sizes_sql"; then set -- "$@" said sizes "$answer"; fi
    if ask "dbname=$database replication=true" IDENTIFY_SYSTEM; then set -- "$@" said replication yes
    else set -- "$@" failed replication "$answer"; fi
  else
    set -- "$@" failed state "$answer"
  fi
fi 2>/dev/null
printf '%s\0' "$@"
"""
)

_SCRIPT = (
    FUNCTIONS
    + r"""
inner=$1 state_sql=$2 sizes_sql=$3
deadline=$((uptime + 8)) # earlier: a server is asked for as long as 9 s

show() { # directory, process or 0
  identity=$(stat -L -c '%u %U' -- "$1" 2>/dev/null) || return 0
  uid=${identity%% *} owner=${identity#* } programs=''
  # root's is no data directory (PostgreSQL refuses), and nothing is run as root for what lies in one
  case $uid:$owner in 0:* | *:UNKNOWN) return 0 ;; esac
  unit=''
  if [ "$2" != 0 ]; then
    [ "$(stat -c %u "/proc/$2" 2>/dev/null)" = "$uid" ] || return 0
    programs=$(readlink "/proc/$2/exe")
    programs=${programs%/*}
    unit=$(process_unit "$2")
  fi
  printf '%s\0' cluster "$1" "$2" owner "$owner" "$unit"
  if is_late; then
    printf '%s\0' failed 'there was no time left to ask it, since other clusters did not answer' ''
  elif ! command -v runuser >/dev/null; then
    printf '%s\0' failed 'the program runuser (of util-linux) is missing' ''
  else
    # as one field of hexadecimal digits: the owner of one cluster must not speak for another
    answer=$(bounded 9 runuser -u "$owner" -- \
      /bin/sh -c "$inner" sh "$1" "$2" "$programs" "$state_sql" "$sizes_sql" </dev/null 2>/dev/null |
      head -c 4000000 | od -A n -v -t x1 | tr -d ' \n')
    if [ -n "$answer" ]; then printf '%s\0' answer "$answer" ''
    else printf '%s\0' failed 'it did not answer in time' ''; fi
  fi
}

# the servers, and not what they started
pids=' ' servers='' inodes='
'
for process in /proc/[0-9]*; do
  { read -r name <"$process/comm"; } 2>/dev/null || continue
  case $name in postgres | postmaster) pids="$pids${process#/proc/} " ;; esac
done
for pid in $pids; do
  { read -r stat <"/proc/$pid/stat"; } 2>/dev/null || continue
  # shellcheck disable=SC2086  # the fields of the line are the words that are wanted
  set -- ${stat##*) }
  case $pids in *" $2 "*) continue ;; esac
  inode=$(stat -L -c %d:%i "/proc/$pid/cwd" 2>/dev/null) || continue
  servers="$servers $pid"
  inodes="$inodes$inode $pid
"
done
for pid in $servers; do
  directory=$(readlink "/proc/$pid/cwd" && printf .)
  directory=${directory%??}
  # a container may show it under another path: the path counts when it leads to the same directory
  case $inodes in *"
$(stat -c %d:%i -- "$directory" 2>/dev/null) $pid
"*) show "$directory" "$pid" ;; esac
done

stopped() { # directory
  [ -f "$1/PG_VERSION" ] || return 0
  inode=$(stat -L -c %d:%i -- "$1") || return 0
  directory=$(readlink -f -- "$1" && printf .)
  directory=${directory%??}
  case $inodes in
    *"
$inode "*)
      pid=${inodes##*"
$inode "}
      show "$directory" "${pid%%
*}"
      ;;
    *) show "$directory" 0 ;;
  esac
}
for directory in /var/lib/postgresql/*/* /var/lib/pgsql/data /var/lib/pgsql/*/data /var/lib/postgres/data; do
  stopped "$directory"
done
if command -v pg_lsclusters >/dev/null; then
  bounded 3 pg_lsclusters -h 2>/dev/null | while read -r version cluster _ _ _ directory _; do
    real=$(readlink -f -- "$directory") || continue
    printf '%s\0' known "$version/$cluster" "$real"
    stopped "$real"
  done
fi
exit 0
"""
)


def make_look() -> Command:
    """Return the command that prints what it found, three NUL-ended fields each (`postgresql_answers`)."""
    return Command.of("/bin/sh", "-c", _SCRIPT, "hotfleet", _INNER, _STATE_SQL, _SIZES_SQL)
