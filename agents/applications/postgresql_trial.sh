# shellcheck shell=sh disable=SC2015,SC2016,SC2154
# The steps of PostgreSQL's trial, in the cage of a drill: /drill/tree is what was restored, /ours what we wrote.
# What one step finds out, the next one reads in /drill/known.

export PGHOST=/drill/socket PGPORT=5432 PGCONNECT_TIMEOUT=30 PGAPPNAME=drill
# stronger than what the cluster keeps for roles and databases
PGOPTIONS='-c session_preload_libraries= -c local_preload_libraries= -c dynamic_library_path=$libdir'
export PGOPTIONS="$PGOPTIONS -c statement_timeout=0 -c lock_timeout=0 -c default_transaction_read_only=off"
bin='' version='' data='' user='' server='' newest=''
# shellcheck disable=SC1091  # written by an earlier step
[ ! -r /drill/known ] || . /drill/known

know() { # names of variables
  for known; do
    eval "known_value=\$$known"
    printf "%s='%s'\n" "$known" "$(printf %s "$known_value" | sed "s/'/'\\\\''/g")"
  done >>/drill/known
}

fail() { printf '%s\n' "$1" >&2; exit 1; }

no_tool() { # what is missing, what mends it
  echo "$1"
  echo "Install it on the machine of the drill ($2); no service of it has to run there."
  exit 69
}

find_programs() { # major version, "" for the newest: sets $bin and $newest
  for each in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/local/pgsql/bin /usr/bin /usr/local/bin; do
    [ -x "$each/postgres" ] && [ -x "$each/pg_controldata" ] || continue
    major=$("$each/postgres" -V | sed -n 's/^[^0-9]*\([0-9][0-9.]*\).*/\1/p')
    case $major in [1-9].*) major=$(echo "$major" | cut -d . -f 1-2) ;; *) major=${major%%.*} ;; esac
    if [ "$1" = "$major" ]; then bin=$each newest=$major; return; fi
    [ -z "$1" ] || continue
    if [ -z "$bin" ] || [ "${major%%.*}" -gt "${newest%%.*}" ]; then bin=$each newest=$major; fi
  done
  [ -n "$bin" ] || no_tool "PostgreSQL ${1:-}'s server is not installed there" "apt install postgresql-${1:-15}"
}

# ---- files of a cluster ---------------------------------------------------------------------------------------

unpack() { # archive, folder; nobody needs the archive any more, and it may be large
  mkdir "$2" && tar -x --no-same-owner -C "$2" -f "$1" || exit 1
  rm -f -- "$1"
  echo 'the archive is whole'
}

find_cluster() { # places where it may be
  for place; do
    [ -f "$place/global/pg_control" ] && [ ! -L "$place" ] || continue
    [ -z "$data" ] || fail "there are two clusters: $data and $place"
    data=$place
  done
  [ -n "$data" ] || data=$(find "$@" -type f -path '*/global/pg_control' 2>/dev/null)
  data=${data%/global/pg_control}
  [ -f "$data/global/pg_control" ] || fail 'there is no cluster, or more than one: global/pg_control'
  { read -r version <"$data/PG_VERSION"; } 2>/dev/null || [ -n "$version" ] || fail 'PG_VERSION is missing'
  case $version in *[!0-9.]* | '' | ?????*) fail 'PG_VERSION holds no version' ;; esac
  find_programs "$version"
  know bin version data
  echo "PostgreSQL $version, by $bin"
}

check_manifest() { # what the server itself wrote about each file when it made the copy
  if [ ! -e "$data/backup_manifest" ]; then echo 'the copy has no list of its files'; return; fi
  "$bin/pg_verifybackup" -n "$data" 2>&1
}

disarm() { # the configuration of the copy is hostile; a slot would need a setting, a standby wait for its primary
  chmod -R u+rwX,go-rwx "$data" || exit 1
  for name in postgresql.conf postgresql.auto.conf pg_hba.conf pg_ident.conf recovery.conf recovery.done \
    standby.signal recovery.signal postmaster.pid postmaster.opts; do rm -rf -- "${data:?}/$name"; done
  : >"$data/postgresql.auto.conf" || exit 1
  rm -rf -- "$data"/pg_replslot/* "$data"/pg_stat_tmp/*
  for link in "$data/pg_wal" "$data"/pg_tblspc/*; do
    [ -L "$link" ] || continue
    place=$(readlink "$link")
    case $place in /*) ln -sfn "/drill/tree$place" "$link" || exit 1 ;; esac
  done
  mkdir -p /drill/socket || exit 1
  echo 'ours; what was restored of it is removed'
}

# ---- the server -----------------------------------------------------------------------------------------------

setting() { # a line of pg_controldata, at least, at most: what recovery needs, whatever a hostile file says
  value=$("$bin/pg_controldata" -D "$data" 2>/dev/null | sed -n "s/^$1 setting: *\([0-9]\{1,6\}\)\$/\1/p")
  [ "${value:-0}" -ge "$2" ] || value=$2
  [ "$value" -le "$3" ] || value=$3
  echo "$value"
}

become_server() { # a word before and one after; only in a subshell, which it becomes
  exec "$bin/postgres" ${1:+"$1"} -D "$data" -c config_file=/ours/postgresql.conf \
    -c max_connections="$(setting max_connections 20 5000)" \
    -c max_prepared_transactions="$(setting max_prepared_xacts 0 5000)" \
    -c max_locks_per_transaction="$(setting max_locks_per_xact 64 5000)" ${2:+"$2"} 2>>/drill/log
}

launch() { # waits until it answers; sets $server
  become_server "" "" >>/drill/log &
  server=$!
  until "$bin/pg_isready" -q -d template1; do
    kill -0 "$server" 2>/dev/null || fail "it does not start: $(grep -E 'FATAL|PANIC|ERROR' /drill/log | tail -n 5)"
    sleep 0.2 2>/dev/null || sleep 1
  done
}

ask() { "$bin/psql" -X -q -w -A -t -v ON_ERROR_STOP=1 -U "$user" "$@" </dev/null; }

start() {
  launch
  user=postgres
  if [ "$(ask -d template1 -c 'select rolsuper from pg_roles where rolname = current_user' 2>/dev/null)" != t ]; then
    # the first superuser of a cluster always has the number 10, whatever its name
    stop
    user=$(echo 'select rolname from pg_authid where oid = 10' \
      | become_server --single template1 \
      | sed -n 's/.*rolname = "\(.*\)"[[:space:]]*(typeid = .*/\1/p' | head -n 1)
    [ -n "$user" ] || fail 'the cluster has no superuser'
    launch
  fi
  know user server
  size='pg_size_pretty(sum(pg_database_size(oid)))'
  ask -d template1 -c "select 'it answers; ' || count(*) || ' databases, ' || $size from pg_database"
}

stop() {
  kill -s INT "$server" 2>/dev/null
  wait "$server" 2>/dev/null # where it is a child of this step
  tries=0
  while kill -0 "$server" 2>/dev/null; do
    tries=$((tries + 1))
    [ "$tries" -lt 1500 ] || fail 'it does not stop'
    sleep 0.2 2>/dev/null || sleep 1
  done
}

check_tables() {
  if [ ! -x "$bin/pg_amcheck" ]; then
    "$bin/pg_dumpall" -w -U "$user" -l template1 >/dev/null || exit 1
    echo 'every row could be read (this version has no pg_amcheck)'
    return
  fi
  set -- --all --maintenance-db=template1 --install-missing --heapallindexed
  said=$("$bin/pg_amcheck" -w -U "$user" "$@" 2>&1) || fail "$(printf '%s\n' "$said" | head -n 20)"
  echo 'every table and index of every database is whole, and each row is in its indexes'
}

check_checksums() { # a server that runs has pages that are not written yet
  stop
  case $("$bin/pg_controldata" -D "$data" | sed -n 's/^Data page checksum version: *//p') in
    0 | '') echo 'its pages have no checksums: bytes that changed in a column without an index are not seen' ;;
    *)
      said=$("$bin/pg_checksums" --check -D "$data" 2>&1) || fail "$(printf '%s\n' "$said" | tail -n 5)"
      printf '%s\n' "$said" | grep -E '^(Blocks scanned|Bad checksums)'
      ;;
  esac
}

# ---- dumps ----------------------------------------------------------------------------------------------------

start_new() {
  find_programs ''
  data=/drill/data user=drill_superuser version=$newest
  "$bin/initdb" -D "$data" -U "$user" -A trust -E UTF8 --locale=C -N >/drill/log 2>&1 || fail "$(tail -n 5 /drill/log)"
  mkdir -p /drill/socket || exit 1
  launch
  know bin version data user server
  echo "a new cluster of PostgreSQL $version answers"
}

restore_roles() { # their file; tablespaces lie at places that do not exist here; each of their statements is a line of its own
  sed -E '/^(CREATE TABLESPACE|ALTER TABLESPACE|COMMENT ON TABLESPACE|(GRANT|REVOKE) .* ON TABLESPACE) /d' \
    "$1" >/drill/globals.sql || exit 1
  grep -q '^CREATE ROLE' /drill/globals.sql || fail 'it holds no roles'
  grep -q '^-- PostgreSQL database cluster dump complete' /drill/globals.sql || fail 'its end is missing'
  "$bin/psql" -X -q -w -v ON_ERROR_STOP=1 -U "$user" -d template1 -o /dev/null -f /drill/globals.sql || exit 1
  echo "$(grep -c '^CREATE ROLE' /drill/globals.sql) roles"
}

restore_database() { # a dump
  set -- -w -U "$user" -e -c --if-exists -C --no-tablespaces -d template1 "$1"
  said=$("$bin/pg_restore" "$@" 2>&1) || {
    case $said in *'unsupported version'*) no_tool "no PostgreSQL that new is installed there" 'a newer one' ;; esac
    fail "$(printf '%s\n' "$said" | tail -n 10)"
  }
  echo 'restored without an error'
}
