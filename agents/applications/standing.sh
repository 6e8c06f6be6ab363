# shellcheck shell=sh
# shellcheck disable=SC2154 # $hold is set by who joins this with services.sh and a hold, a release or an undo
# An instance that stands before it is read: nothing is stopped or started, it is only looked at twice.
# File in $hold: stood (the services that stood at the beginning, a name a line).

standing_begin() { # the instance's own service ("": nobody knows it), then all that are looked at
  : >"$hold/stood" || return 1
  own=$1
  shift
  for service; do
    service_look "$service" || { echo "nobody knows whether $service runs: $why" >&2; return 1; }
    if [ "$seen" = stands ]; then printf '%s\n' "$service" >>"$hold/stood" || return 1
    elif [ "$service" = "$own" ]; then echo "$service runs by now" >&2; return 1; fi
  done
}

# Given the names of servers' processes, as a pattern of `case` within blanks, and places: fails with 3 (it was not
# held) when a service was started, or a server works in one of the places.
standing_check() {
  [ -f "$hold/stood" ] || return 0 # nobody began
  while read -r service; do
    service_look "$service" && [ "$seen" = stands ] && continue
    echo "$service was started while it had to stand still" >&2
    return 3
  done <"$hold/stood"
  servers=$1
  shift
  for process in /proc/[0-9]*; do
    { read -r comm <"$process/comm"; } 2>/dev/null || continue
    case $servers in *" $comm "*) ;; *) continue ;; esac
    for place; do
      # shellcheck disable=SC3013 # dash and busybox know it, and so does POSIX since 2024
      [ "$process/cwd" -ef "$place" ] || continue
      echo "$comm (${process#/proc/}) runs on $place by now" >&2
      return 3
    done
  done
}
