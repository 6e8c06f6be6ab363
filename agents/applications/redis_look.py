"""What is asked about the Redis and Valkey servers of a device: the shell that asks."""

from __future__ import annotations

from agents.applications.processes import EACH_GIVEN, FUNCTIONS, find_directories, find_servers
from agents.commands import Command
from agents.facts import DeviceFacts

# Nobody is ever asked for a password: a server that wants one says so, and that is shown.
_SCRIPT = (
    FUNCTIONS
    + r"""
client=$(command -v redis-cli || command -v valkey-cli)
ask() { # words of the client; the answer's lines end with CR LF
  bounded 4 "$client" "$@" </dev/null 2>&1 | tr -d '\r' | head -c 65536
}
tcp_addresses() { # prints the IPv4 addresses and ports on which the process listens
  ls -l "/proc/$1/fd" 2>/dev/null | awk '
    NR == FNR { if (match($0, /socket:\[[0-9]+\]/)) { own[substr($0, RSTART + 8, RLENGTH - 9)] = 1 } next }
    ($10 in own) && $4 == "0A" { print substr($2, 1, 8), substr($2, 10, 4) }
  ' - "/proc/$1/net/tcp" | head -n 8 | while read -r address port; do
    port=$((0x$port)) last=$((0x${address%??????}))
    address=${address#??} third=$((0x${address%????})) address=${address#??}
    address="$((0x${address#??})).$((0x${address%??})).$third.$last"
    [ "$address" != 0.0.0.0 ] || address=127.0.0.1
    printf '%s %s\n' "$address" "$port"
  done
}
is_reached() { # words of the client
  answer=$(ask "$@" info)
  case $answer in *redis_version:*) return 0 ;; esac
  say failed state "$(printf '%s' "$answer" | head -c 300)" ''
  return 1
}
show_state() { # words of the client that reach it
  printf '%s\n' "$answer" | sed -n 's/^\([a-z_0-9]*\):\(.*\)$/\1\t\2/p' |
    while IFS="$tab" read -r name value; do
      case $name in
        redis_version | valkey_version | role | process_id | loading | used_memory | latest_fork_usec | \
          aof_enabled | aof_rewrite_in_progress | aof_last_bgrewrite_status | aof_last_write_status | \
          total_commands_processed | uptime_in_seconds | run_id | \
          rdb_last_save_time | rdb_last_bgsave_status | master_link_status | cluster_enabled)
          say said "$name" "$value" ''
          ;;
      esac
    done
  for name in appenddirname auto-aof-rewrite-percentage; do
    value=$(ask "$@" config get "$name")
    case $value in
      "$name
"*) say said "$name" "${value#*
}" '' ;;
      *) say failed config "$(printf '%s' "$value" | head -c 300)" '' ;;
    esac
  done
}
newline='
'
show_server() { # process id
  process_is_ours "$1" && process_directory "$1" || return 0
  say server "$1" "$directory" "$(process_unit "$1")"
  addresses=$(tcp_addresses "$1") sockets=$(process_sockets "$1")
  [ -z "$addresses" ] || say port '' "${addresses##* }" ''
  [ -z "$sockets" ] || say unix '' "${sockets%%"$newline"*}" ''
  if [ -z "$client" ]; then say failed state 'no client program (redis-cli or valkey-cli)' ''; return; fi
  # the lists are split once, before the first round; what is in them is no pattern
  set -f
  IFS=$newline
  for socket in $sockets; do
    IFS=" $tab$newline"
    if ! is_late && is_reached -s "$socket"; then
      say socket '' "$socket" ''
      show_state -s "$socket"
      return
    fi
  done
  IFS=$newline
  for address in $addresses; do
    IFS=" $tab$newline"
    if ! is_late && is_reached -h "${address% *}" -p "${address#* }"; then
      say tcp "${address% *}" "${address#* }" ''
      show_state -h "${address% *}" -p "${address#* }"
      return
    fi
  done
  IFS=" $tab$newline"
  [ -n "$sockets$addresses" ] || say failed state 'it listens on no unix socket and no IPv4 address' ''
}
if [ -n "$client" ]; then say program client "$client" ''; fi
say program overcommit "$(cat /proc/sys/vm/overcommit_memory)" ''
show_stopped() { say server 0 "$1" ''; }
"""
    + EACH_GIVEN
)


def look_command(facts: DeviceFacts) -> Command | None:
    """Given facts, return the command that asks about every server, None when there is none. It prints four
    NUL-ended fields for each thing that it found."""
    pids = [str(server.pid) for server in find_servers(facts, ("redis",))]
    directories = find_directories(facts, ("redis",))
    if not pids and not directories:
        return None
    return Command.of("/bin/sh", "-c", _SCRIPT, "hotfleet", *pids, "--", *directories)
