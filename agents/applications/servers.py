"""Finding servers by the name of their process: shell that a look command begins with."""

from __future__ import annotations

from agents.applications.processes import FUNCTIONS, MOST_SERVERS

# each_server <name of the process> <init script>: calls `ask_server` for each such process that is no child
# of another, its words as "$@", with $pid $uid $gid $cwd $service and $contained (1: its paths mean something
# else). Without systemd a script is believed to be its service only when there is one such server and the
# script says that it runs.
# as_server <seconds> <command>: as the server's own user, since whoever started it chose what it reads.
EACH_SERVER = (
    f"{FUNCTIONS}\nmost={MOST_SERVERS}\n"
    + r"""
as_server() {
  as_seconds=$1
  shift
  if [ "$uid" = 0 ]; then bounded "$as_seconds" "$@"
  else bounded "$as_seconds" setpriv --reuid="$uid" --regid="$gid" --clear-groups -- "$@"; fi </dev/null
}
list_servers() {
  for process in /proc/[0-9]*; do
    { read -r comm <"$process/comm"; } 2>/dev/null && [ "$comm" = "$1" ] || continue
    { read -r stat <"$process/stat"; } 2>/dev/null || continue
    stat=${stat##*) }
    case $stat in Z*) continue ;; esac
    parent=${stat#* }
    { read -r parent <"/proc/${parent%% *}/comm"; } 2>/dev/null || parent=''
    [ "$parent" = "$1" ] || echo "${process#/proc/}"
  done | head -n "$most"
}
find_service() { # init script; sets $service
  service=$(process_unit "$pid")
  [ -z "$service" ] || service=$service.service
  [ -z "$service" ] && [ ! -d /run/systemd/system ] && [ -x "/etc/init.d/$1" ] || return 0
  [ "$pids" = "$pid" ] || return 0
  ! bounded 3 "/etc/init.d/$1" status </dev/null >/dev/null 2>&1 || service=$1
}
each_server() {
  script=$2
  pids=$(list_servers "$1")
  for pid in $pids; do
    uid=$(process_uid "$pid") && gid=$(stat -c %g "/proc/$pid" 2>/dev/null) || continue
    cwd=$(readlink "/proc/$pid/cwd") || continue
    contained=0
    process_is_ours "$pid" || contained=1
    find_service "$script"
    words=$(tr '\0' '\n' 2>/dev/null <"/proc/$pid/cmdline") || continue
    old_ifs=$IFS
    IFS='
'
    set -f
    # shellcheck disable=SC2086 # the words of the process
    set -- $words
    set +f
    IFS=$old_ifs
    is_late || ask_server "$@"
  done
}
"""
)
