# shellcheck shell=sh
# ---- values, time, processes ----------------------------------------------------------------------------------

value() { # reads one escaped line of stdin into $value; the dot keeps newlines at the end
  IFS= read -r value || return 1
  case $value in *\\*) value=$(printf '%b.' "$value") && value=${value%.} ;; esac
}

now() { # the uptime: a jump of the clock must not end or prolong a run
  read -r now _ </proc/uptime
  now=${now%%.*}
}

look() { # given a pid, sets $state $group $started; fails when there is no such process
  { read -r look <"/proc/$1/stat"; } 2>/dev/null || return 1
  # shellcheck disable=SC2086  # the fields of the line are the words that are wanted
  set -- ${look##*) }
  state=$1 group=$3 started=${20}
}

myself() { # $$ is the parent's in a subshell
  read -r me _ </proc/self/stat
  look "$me"
}

alive() { # given pid and start time: that very process, and not a zombie
  look "$1" && [ "$state" != Z ] && [ "$started" = "$2" ]
}

signal_group() { # given a signal and a group. dash wants "--" before it; busybox calls that a wrong number and fails
  { kill -s "$1" -- "-$2" || kill -s "$1" "-$2"; } 2>/dev/null
}

lives() { # given the leader's pid and start time: is anything of its group left
  alive "$1" "$2" && return 0
  look "$1" && [ "$started" != "$2" ] && return 1
  signal_group 0 "$1" || return 1
  for lives in /proc/[0-9]*; do
    look "${lives#/proc/}" && [ "$group" = "$1" ] && [ "$state" != Z ] && return 0
  done
  return 1
}

nap() { sleep 0.1 2>/dev/null || sleep 1; }

end_group() { # TERM, KILL after two seconds; fails when something is left after seven (uninterruptible)
  tries=0
  while lives "$1" "$2"; do
    [ "$tries" -ge 70 ] && return 1
    signal=TERM
    [ "$tries" -ge 20 ] && signal=KILL
    # by group, then by pid: a process that recorded itself a moment ago may not lead its group yet
    # CONT, since a stopped one keeps TERM until it goes on
    [ $((tries % 20)) -eq 0 ] && {
      signal_group "$signal" "$1"
      kill -s "$signal" "$1" 2>/dev/null
      signal_group CONT "$1"
    }
    tries=$((tries + 1))
    nap
  done
  return 0
}

read_record() { # sets $pid $pid_started $owner $owner_started from a record; an empty one is not there yet
  pid='' pid_started='' owner='' owner_started=''
  { read -r pid pid_started owner owner_started <"$1"; } 2>/dev/null
  [ -n "$pid" ]
}

end_named() { # given the id of a group
  read_record "$dir/groups/$1" || return 0
  end_group "$pid" "$pid_started" && rm -f -- "$dir/groups/$1"
}

end_process() { # given the name of a record file of one process that is not a group
  read_record "$dir/$1" && alive "$pid" "$pid_started" && kill -s KILL "$pid" 2>/dev/null
  return 0
}

enter() { # in a subshell: record it as a group BEFORE it may do anything. $2 allows undo steps while healing
  myself
  printf '%s %s %s\n' "$me" "$started" "$2" >"$dir/groups/$1" || exit 125
  # either we see the mark, or the reaper, who marks first and looks second, sees our record
  [ "${3-}" = undo ] || [ ! -e "$dir/healing" ] || exit 125
}

# Given id, owner, undo or "", a file of shell source (one argument may not exceed 128 KiB), stdin as 5:
# runs it as a group of its own and waits.
in_group() {
  (
    enter "$1" "$2" "$3"
    exec env -i PATH="$PATH" HOME=/root LC_ALL=C setsid /bin/sh "$4" <&5 5<&-
  ) & # its stdin is /dev/null until 5 takes its place
  wait "$!"
}
