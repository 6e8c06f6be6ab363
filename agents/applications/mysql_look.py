"""What is asked about the MariaDB and MySQL servers of a device: the shell that asks.

Root asks through the server's own unix socket, with what root's own client files say, and no password of
ours.
Whoever owns the data directory may answer in the server's place: the client sends it no file (LOCAL INFILE
is off) and everything that is said is bounded.
"""

from __future__ import annotations

from agents.applications.processes import EACH_GIVEN, FUNCTIONS, find_directories, find_servers
from agents.commands import Command
from agents.facts import DeviceFacts

# Words of every client of ours. --skip-reconnect: a lock must not silently be another session's.
CLIENT_WORDS = (
    "--batch",
    "--skip-column-names",
    "--local-infile=0",
    "--skip-reconnect",
    "--skip-pager",
    "--connect-timeout=5",
)

_STATE_SQL = """
set session lock_wait_timeout = 2;
show global variables where variable_name in ('version', 'version_comment', 'datadir', 'log_bin',
  'log_bin_basename', 'relay_log_basename', 'innodb_data_home_dir', 'innodb_data_file_path',
  'innodb_log_group_home_dir', 'innodb_undo_directory', 'aria_log_dir_path', 'innodb_directories',
  'max_statement_time', 'read_only');
select 'longest_statement_s', coalesce(max(time), 0) from information_schema.processlist
  where command in ('Query', 'Execute') and id <> connection_id();
select 'longest_transaction_s', coalesce(max(timestampdiff(second, trx_started, now())), 0)
  from information_schema.innodb_trx;
"""
# Apart: it looks at every table, and may not end in time.
_ENGINES_SQL = """
set session lock_wait_timeout = 2;
select concat('engine ', engine), count(*) from information_schema.tables
  where table_schema not in ('mysql', 'information_schema', 'performance_schema', 'sys')
  and engine is not null group by engine;
select concat('database ', schema_name), '' from information_schema.schemata
  where schema_name not in ('mysql', 'information_schema', 'performance_schema', 'sys') limit 500;
"""

_SCRIPT = (
    FUNCTIONS
    + r"""
state_sql=$1 engines_sql=$2 words=$3
shift 3
client=$(command -v mariadb || command -v mysql)
ask() { # socket, seconds, query; prints a row a line. Not through a variable in words: they are constant
  # shellcheck disable=SC2086
  bounded "$2" "$client" --socket="$1" $words -e "$3" </dev/null 2>&1
}
pairs() { printf '%s\n' "$1" | tr "$tab\n" '\0\0'; }

show_program() { # what it is called here, names
  called=$1
  shift
  for name in "$@"; do
    found=$(command -v "$name") || continue
    version=$(bounded 3 "$found" --version 2>&1 </dev/null | head -c 300 | tr '\n' ' ')
    say program "$called" "$found" "$version"
    return
  done
}
show_place() { # owner, path as the server says it: a real directory of the same owner, or of root
  real=$(readlink -f -- "$2") && [ -d "$real" ] || return 0
  case $(stat -c %u -- "$real") in "$1" | 0) say place '' "$real" '' ;; esac
}
show_linked() { # owner, data directory: tables and databases that somebody moved elsewhere
  find "$2" -maxdepth 2 \( -type l -o -type f -name '*.isl' \) 2>/dev/null | head -n 200 |
    while IFS= read -r entry; do
      target=$entry
      [ -L "$entry" ] || target=$(head -c 4096 -- "$entry" | head -n 1)
      real=$(readlink -f -- "$target") || { say broken '' "$entry" ''; continue; }
      [ "$(stat -c %u -- "$real" 2>/dev/null)" = "$1" ] || { say broken '' "$entry" ''; continue; }
      if [ -d "$real" ]; then say place '' "$real" ''; else say place '' "${real%/*}" ''; fi
    done
}
show_flavour() { # data directory: which program's it is
  if [ -e "$1/aria_log_control" ]; then say flavour '' mariadb ''
  elif [ -e "$1/mysql.ibd" ] || [ -d "$1/mysql" ]; then say flavour '' mysql ''; fi
}
show_state() { # owner, data directory, socket
  answer=$(ask "$3" 4 "$state_sql") || { say failed state "$answer" ''; return 1; }
  printf '%s\n' "$answer" | while IFS="$tab" read -r name value; do say said "$name" "$value" ''; done
  cd "$2" || return 0
  printf '%s\n' "$answer" | while IFS="$tab" read -r name value; do
    case $name in
      *_basename) show_place "$1" "${value%/*}" ;;
      datadir | *_home_dir | *_undo_directory | *_log_dir_path) [ -z "$value" ] || show_place "$1" "$value" ;;
    esac
  done
  cd / || return 0
  if answer=$(ask "$3" 5 "$engines_sql"); then
    printf '%s\n' "$answer" | while IFS="$tab" read -r name value; do
      [ -z "$name" ] || say said "$name" "$value" ''
    done
  else
    say failed engines "$answer" ''
  fi
}
show_server() { # process id
  process_is_ours "$1" && process_directory "$1" && uid=$(process_uid "$1") || return 0
  data=$directory
  process_owns "$1" "$data" || return 0
  say server "$1" "$data" "$(process_unit "$1")"
  show_flavour "$data"
  show_linked "$uid" "$data"
  if [ -z "$client" ]; then say failed state 'no client program (mariadb or mysql)' ''; return; fi
  if is_late; then say failed state 'no time was left to ask: other servers did not answer' ''; return; fi
  sockets=$(process_sockets "$1")
  [ -n "$sockets" ] || say failed state 'it listens on no unix socket' ''
  printf '%s\n' "$sockets" | while IFS= read -r socket; do
    case $socket in '' | *mysqlx.sock) continue ;; /*) ;; *) socket=$data/$socket ;; esac
    say socket '' "$socket" ''
    show_state "$uid" "$data" "$socket" && break
  done
}
show_stopped() { # data directory
  say server 0 "$1" ''
  show_flavour "$1"
  show_linked "$(stat -c %u "$1")" "$1"
}
show_program backup mariadb-backup mariabackup
show_program xtrabackup xtrabackup
show_program dump mariadb-dump mysqldump
show_program client mariadb mysql
"""
    + EACH_GIVEN
)


def look_command(facts: DeviceFacts, applications: tuple[str, ...]) -> Command | None:
    """Given facts and the names under which a server was seen, return the command that asks about all of
    them, None when there is none. It prints four NUL-ended fields for each thing that it found."""
    pids = [str(server.pid) for server in find_servers(facts, applications)]
    directories = find_directories(facts, ("mysql",))
    if not pids and not directories:
        return None
    words = (_STATE_SQL, _ENGINES_SQL, " ".join(CLIENT_WORDS), *pids, "--", *directories)
    return Command.of("/bin/sh", "-c", _SCRIPT, "hotfleet", *words)
