"""The low-level copy of a PostgreSQL cluster, wherever its files lie: one archive, made in one session.

PostgreSQL documentation, "Making a Base Backup Using the Low-Level API": whoever holds the session copies the
files while they change, then adds what pg_backup_stop says and the WAL from the first to the last moment.
"""

from __future__ import annotations

from agents.facts import Instance

# The archive, as it is put back: data/ (its own links in pg_tblspc lead to tablespaces/), tablespaces/<oid>/,
# and tablespace_map beside data: where the tablespaces were. Inside of data the server would follow it to the
# files of the original when it starts.
# Before 15 the functions had other names.
_RENAMED_IN = 15

# What is printed comes from several programs; tar knows no way to leave its end out, but with one block a
# record its end has 1,024 bytes. Few files are written by hand: their bytes come from the session.
# $1: which half. From the environment: $data, $major; for the end $label, $map.
HALVES = r"""
umask 077
unset TAR_OPTIONS
data=$data major=$major label=${label-} map=${map-}
fail() { printf '%s\n' "$1" >&2; exit 1; }
uid=$(id -u) gid=$(id -g) user=$(id -un) group=$(id -gn) now=$(date +%s)
# more has no room in a header; the names count
[ "$uid" -le 2097151 ] || uid=0
[ "$gid" -le 2097151 ] || gid=0

block() { # name, mode, type, link, bytes, check sum
  printf '%-100s%07o %07o %07o %011o %011o %-8s%s%-100sustar 00%-32.31s%-32.31s%07o %07o %-167s' \
    "$1" "$2" "$uid" "$gid" "$5" "$now" "$6" "$3" "$4" "$user" "$group" 0 0 '' | tr ' ' '\000'
}
member() { # name, mode, type (0 file, 2 link, 5 directory), link, bytes
  sum=256
  for byte in $(block "$@" '' | od -A n -v -t u1); do sum=$((sum + byte)); done
  block "$@" "$(printf %07o "$sum")" >&4
}
text() { # name, text
  size=$(printf %s "$2" | wc -c)
  member "$1" 0600 0 '' "$size"
  { printf %s "$2" && head -c $(((512 - size % 512) % 512)) /dev/zero; } >&4
}

tree() { # words of tar
  ended=$({
    {
      tar -c -f - -b 1 --format=gnu --warning=no-file-changed --warning=no-file-removed \
        --warning=no-file-shrank --anchored --no-wildcards-match-slash "$@" 3>&- 4>&- 5>&-
      echo "tar $?" >&5
    } | head -c -1024 >&4 5>&-
    echo "head $?" >&5
  } 5>&1)
  # 1: files changed, shrank or vanished while they were read, which replaying the WAL mends. 2 is anything
  # else: nothing that is named here may vanish.
  case $ended in 'tar 0
head 0' | 'tar 1
head 0') ;; *) fail "the files could not be read: $(printf %s "$ended" | tr '\n' ' ')" ;; esac
}
control() { # read until it is the same twice: half an update would be no file
  before=''
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    bytes=$(od -A n -v -t o1 <"$data/global/pg_control" | tr -s ' \n' '\\\\') || break
    [ -z "$bytes" ] || [ "$bytes" != "$before" ] || break
    before=$bytes
  done
  bytes=${bytes%\\}
  size=$(printf "$bytes" | wc -c)
  [ "$bytes" = "${before%\\}" ] && [ "$size" = 8192 ] || fail 'pg_control could not be read whole'
  member data/global/pg_control 0600 0 '' "$size"
  printf "$bytes" >&4
}

copy_files() {
  case $(tar --version 2>/dev/null) in *GNU*) ;; *) fail 'GNU tar is missing: install it' ;; esac
  [ "$(printf 123 | head -c -2 2>/dev/null)" = 1 ] || fail 'head of GNU coreutils is missing: install it'
  for entry in "$data"/base "$data"/global "$data"/pg_* "$data"/base/*; do
    [ ! -L "$entry" ] || [ "$entry" = "$data/pg_wal" ] || fail "$entry is a link, and would not be copied"
  done
  tree -C "$data" --transform='s,^\.,data,S' \
    --exclude=./pg_wal --exclude=./global/pg_control --exclude=./postmaster.pid --exclude=./postmaster.opts \
    --exclude='./pg_replslot/*' --exclude='./pg_dynshmem/*' --exclude='./pg_notify/*' \
    --exclude='./pg_serial/*' --exclude='./pg_snapshots/*' --exclude='./pg_stat_tmp/*' \
    --exclude='./pg_subtrans/*' --exclude='./pg_tblspc/*' --exclude='./backup_label*' \
    --exclude='./tablespace_map*' --exclude=./backup_manifest --exclude=./lost+found \
    --no-anchored --exclude='pgsql_tmp*' --exclude='pg_internal.init*' .
  member tablespaces/ 0700 5 '' 0
  for entry in "$data"/pg_tblspc/*; do
    [ -e "$entry" ] || [ -L "$entry" ] || continue
    oid=${entry##*/}
    [ -L "$entry" ] || fail "$entry is no link"
    case $oid in *[!0-9]* | ???????????*) fail "$entry is no tablespace" ;; esac
    member "data/pg_tblspc/$oid" 0777 2 "../../tablespaces/$oid" 0
    member "tablespaces/$oid/" 0700 5 '' 0
    # of other versions there may be others
    cd "$entry/" && set -- PG_"$major"_* || fail "$entry leads nowhere"
    tree -C "$entry/" --transform="s,^,tablespaces/$oid/,S" --no-anchored --exclude='pgsql_tmp*' "$@"
  done
  # last of all files, and before the end: that of a standby says how far its WAL must be replayed
  control
  printf yes
}

copy_wal() { # the ends of the names of its files come in, from the first to the last
  text data/backup_label "$label"
  [ -z "$map" ] || text tablespace_map "$map"
  member data/pg_wal/ 0700 5 '' 0
  member data/pg_wal/archive_status/ 0700 5 '' 0
  cd "$data/pg_wal/" || fail 'pg_wal leads nowhere'
  set --
  while read -r name; do
    found=''
    for file in ????????"$name"; do
      [ ! -f "$file" ] || set -- "$@" "$file"
      [ ! -f "$file" ] || found=1
    done
    [ -n "$found" ] || fail "the WAL file $name is gone: max_slot_wal_keep_size may be too small"
  done
  [ $# != 0 ] || fail 'nobody said which WAL is needed'
  first=$1
  for file in *.history; do [ ! -f "$file" ] || set -- "$@" "$file"; done
  # a server that archives must not archive these again
  for file in "$@"; do member "data/pg_wal/archive_status/$file.done" 0600 0 '' 0; done
  printf '%s\n' "$@" | tar -c -f - --format=gnu --warning=no-file-changed --no-recursion \
    --transform='s,^,data/pg_wal/,S' -T - 3>&- >&4 4>&-
  ended=$?
  # 1: a standby still writes into the last one
  case $ended in 0 | 1) ;; *) fail "the WAL could not be read: tar $ended" ;; esac
  [ -f "$first" ] || fail "the WAL file $first was removed while it was read"
  printf whole >&3
}
"copy_$1"
"""

# The session is the net: whoever dies here, the server forgets slot and backup with it. psql tells no status
# of what it starts, so each half is confirmed in words: the files by "yes", the WAL by "whole".
_COPY = r"""
export data="$3" major="$4" half="$5"
exec 4>&1
said=$("$1" -X -q -w -A -t -v ON_ERROR_STOP=1 -o /dev/null -d "$2" 3>&1 >&4 <<'END'
set client_min_messages = error;
select set_config(name, '0', false) from pg_settings
where name in ('idle_session_timeout', 'statement_timeout');
select 'hotfleet_' || pg_backend_pid() as slot, pg_size_bytes(current_setting('wal_segment_size')) as size,
  md5(string_agg(oid || pg_tablespace_location(oid), ' ' order by oid)) as spaces from pg_tablespace \gset
select pg_create_physical_replication_slot(:'slot', true, true);
select {start} as first \gset
\set is_copied `exec /bin/sh -c "$half" hotfleet files 3>&-`
\if :is_copied
select lsn as last, labelfile as label, coalesce(spcmapfile, '') as map from {stop} \gset
select :'spaces' = md5(string_agg(oid || pg_tablespace_location(oid), ' ' order by oid)) as is_same
from pg_tablespace \gset
\if :is_same
\setenv label :label
\setenv map :map
select upper(lpad(to_hex(number / each), 8, '0') || lpad(to_hex(number % each), 8, '0'))
from (select 4294967296 / :size as each, div(pg_wal_lsn_diff(:'first', '0/0'), :size)::bigint as first,
  div(pg_wal_lsn_diff(:'last', '0/0') - 1, :size)::bigint as last) as segments,
  generate_series(segments.first, greatest(segments.first, segments.last)) as number
order by number \g | exec /bin/sh -c "$half" hotfleet wal
select pg_drop_replication_slot(:'slot');
\else
\! echo 'a tablespace was made or removed meanwhile: back it up again' >&2
\endif
\endif
END
) && [ "$said" = whole ]
"""


def copy_words(instance: Instance, database: str) -> tuple[str, ...]:
    """Given an instance and a connection string, return the words that print the archive, for its owner.

    They fail when the session ends, a file cannot be read, or WAL is missing."""
    major = int(instance.version.partition(".")[0])
    if major >= _RENAMED_IN:
        start, stop = "pg_backup_start('hotfleet', true)", "pg_backup_stop(false)"
    else:
        start, stop = "pg_start_backup('hotfleet', true, false)", "pg_stop_backup(false, false)"
    script = _COPY.replace("{start}", start).replace("{stop}", stop)
    words = (instance.detail("psql"), database, instance.detail("data"), str(major), HALVES)
    return ("/bin/sh", "-c", script, "hotfleet", *words)
