"""Shell for look commands: what a server's process says about where it listens and who stops it.

`$uid` of a process is whoever may put anything into its data: what lies there is a hint, never an order.
"""

from __future__ import annotations

from collections.abc import Iterable

from agents.facts import DatabaseSeen, DeviceFacts

# A device with more servers of one kind is asked about the first ones only.
MOST_SERVERS = 16

# Also for other shells that ask a server.
BOUNDED = r"""
bounded() { # seconds, a program and its words; by KILL, which every timeout sends and nothing ignores
  if command -v timeout >/dev/null; then timeout -s KILL "$@"; else shift; "$@"; fi
}
"""
# What all of it needs: PATH, bounded programs, a deadline that is earlier than the look command's own.
FUNCTIONS = (
    BOUNDED
    + r"""
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
tab=$(printf '\t')
uptime() { { read -r uptime _; } </proc/uptime; uptime=${uptime%%.*}; }
uptime
deadline=$((uptime + 12))
is_late() { uptime; [ "$uptime" -ge "$deadline" ]; }
say() { printf '%s\0' "$@"; }

is_same() { # two paths of one file or directory
  same=$(stat -L -c %d:%i -- "$1" 2>/dev/null) && [ "$same" = "$(stat -L -c %d:%i -- "$2" 2>/dev/null)" ]
}
process_is_ours() { # given a process id: not one of a container, whose paths mean something else out here
  [ "$(readlink "/proc/$1/ns/pid")" = "$(readlink /proc/self/ns/pid)" ] && is_same "/proc/$1/root/" /
}
process_uid() { stat -c %u "/proc/$1" 2>/dev/null; }
# Anybody may name a process as he likes, and have it say that the data of others is its own.
process_owns() { # given a process id and a path
  owner=$(process_uid "$1") || return 1
  [ "$owner" = 0 ] || [ "$owner" = "$(stat -L -c %u -- "$2" 2>/dev/null)" ]
}
process_directory() { # sets $directory when the path leads to where the process really works
  directory=$(readlink "/proc/$1/cwd") && is_same "$directory" "/proc/$1/cwd"
}
process_sockets() { # prints the path of each unix socket on which the process listens
  ls -l "/proc/$1/fd" 2>/dev/null | awk '
    NR == FNR { if (match($0, /socket:\[[0-9]+\]/)) { own[substr($0, RSTART + 8, RLENGTH - 9)] = 1 } next }
    ($7 in own) && $4 == "00010000" { for (at = 0; at < 7; at++) sub(/^[^ ]+ +/, ""); print }
  ' - "/proc/$1/net/unix" | head -n 8
}
process_unit() { # prints the unit whose main process this is; what somebody started by hand has none
  if [ -d /run/systemd/system ]; then
    unit=$(sed -n 's,^.*/\([^/]*\)\.service$,\1,p' "/proc/$1/cgroup" | head -n 1)
    # whoever may make control groups names them: systemctl would take a pattern for all units that it matches
    case $unit in '' | *[!A-Za-z0-9:_.@\\-]*) return 0 ;; esac
    [ "$(bounded 3 systemctl show -p MainPID -- "$unit.service")" = "MainPID=$1" ] || unit=''
    printf '%s' "$unit"
  fi
} 2>/dev/null
"""
)
# Given process ids, "--" and directories: calls `show_server` for each process, then `show_stopped` for each
# directory in which none of them works.
EACH_GIVEN = r"""
seen=''
while [ "$1" != -- ]; do
  show_server "$1"
  if process_directory "$1"; then seen="$seen$(stat -c %d:%i "$directory") "; fi
  shift
done
shift
for directory in "$@"; do
  directory=$(readlink -f -- "$directory") && inode=$(stat -c %d:%i "$directory") || continue
  case " $seen" in *" $inode "*) continue ;; esac
  show_stopped "$directory"
done 2>/dev/null
exit 0
"""


def find_servers(facts: DeviceFacts, applications: Iterable[str]) -> list[DatabaseSeen]:
    """Given facts and the applications as which a server may have been seen, return its processes."""
    wanted = set(applications)
    seen = [each for each in facts.databases if each.seen_as == "process" and each.application in wanted]
    return seen[:MOST_SERVERS]


def find_directories(facts: DeviceFacts, applications: Iterable[str]) -> list[str]:
    """Given facts, return the usual data directories that exist, whether a server runs on them or not."""
    wanted = set(applications)
    return [
        each.place for each in facts.databases if each.seen_as == "directory" and each.application in wanted
    ]
