# shellcheck shell=sh
# ---- the journal and healing ----------------------------------------------------------------------------------

undo() { # given a file of the journal: runs it (20 s at most) and strikes it when it succeeded
  myself
  undo_id="undo-$me-${1##*/}" undo_said="$dir/undo-$me" # main and the reaper may undo the same step at once
  in_group "$undo_id" "$me $started" undo "$1" 5</dev/null >"$undo_said.out" 2>"$undo_said.err" 4<&- &
  undo_pid=$!
  waited=0
  while look "$undo_pid" && [ "$state" != Z ]; do
    [ "$waited" -ge 200 ] && { end_named "$undo_id"; break; }
    waited=$((waited + 1))
    nap
  done
  wait "$undo_pid"
  undone=$?
  rm -f -- "$dir/groups/$undo_id"
  [ -e "$1" ] || undone=0 # the other one was faster
  [ "$undone" -eq 0 ] && rm -f -- "$1" "$dir/due/${1##*/}"
  return "$undone"
}

undo_all() { # newest first, each by itself: one that fails stays in the journal and does not stop the next
  steps='' failed=0
  for step in "$dir"/owed/*; do [ -f "$step" ] && steps="$step $steps"; done
  for step in $steps; do undo "$step" || failed=1; done
  return "$failed"
}

end_groups() {
  left=0
  for record in "$dir"/groups/*; do
    [ -f "$record" ] || continue
    end_named "${record##*/}" || left=1
  done
  return "$left"
}

is_mounted_below() { # never remove a directory that something is mounted in
  while read -r _ _ _ _ point _; do
    case $point in "$1"/*) return 0 ;; esac
  done </proc/self/mountinfo
  return 1
}

remove() {
  case $dir in */hotfleet/hotfleet-*-*) ;; *) return 1 ;; esac
  is_mounted_below "$dir" && return 1
  release_groups '*' || return 1
  rm -rf -- "$dir"
}

end_strays() { # what a long program left outside of its group carries the run's name in its environment
  # shellcheck disable=SC2013  # the lines are paths under /proc: digits, no white space
  for stray in $(grep -lzx "HOTFLEET_RUN=${dir##*/}" /proc/[0-9]*/environ 2>/dev/null); do
    stray=${stray#/proc/}
    kill -s KILL "${stray%/environ}" 2>/dev/null
  done
  return 0
}

try_heal() { # one pass; fails when something is still owed or alive. A frozen file system blocks processes: go on
  : >"$dir/healing"
  healed=0
  end_groups || healed=1
  undo_all || healed=1
  end_strays
  [ "$healed" -eq 0 ] && end_groups && remove
}

heal() { # until nothing is left
  end_process runner
  end_process listener
  passes=0
  until try_heal; do
    [ -d "$dir" ] || break
    passes=$((passes + 1))
    if [ "$passes" -lt 60 ]; then sleep 1; else sleep 30; fi
  done
  stop_second_reaper
}

force_due() { # undo steps with a cap of their own (a freeze) do not wait for the deadline
  for step in "$dir"/due/*; do
    [ -f "$step" ] || continue
    read -r due <"$step"
    now
    [ "$now" -ge "${due:-0}" ] || continue
    key=${step##*/}
    : >"$dir/overdue/${key#*.}" # before the step, or who settles meanwhile would not learn it
    undo "$dir/owed/$key"
  done
}

end_orphans() { # groups whose attach or main died
  for record in "$dir"/groups/*; do
    read_record "$record" || continue
    [ -z "$owner" ] || alive "$owner" "$owner_started" || end_named "${record##*/}"
  done
}

is_over() { # must the run at $dir end: deadline passed, channel ended, or main dead
  ends=''
  { read -r ends <"$dir/deadline"; } 2>/dev/null
  [ -z "$ends" ] || deadline=$ends # empty while it is written: keep the last one
  now
  [ "$now" -ge "${deadline:-0}" ] && return 0
  [ -e "$dir/gone" ] && return 0
  read_record "$dir/runner" || return 0
  ! alive "$pid" "$pid_started"
}

reap() {
  myself
  printf '%s %s\n' "$me" "$started" >"$dir/reaper" || exit 1
  while [ -d "$dir" ]; do
    if is_over; then heal; else force_due; end_orphans; resume_overdue; share_overdue; fi
    sleep 1
  done
}

start_reaper() { # setsid keeps the pid of a process that leads no group
  setsid /bin/sh "$dir/program" reap "$dir" </dev/null >/dev/null 2>&1 3<&- 4<&- &
}

start_second_reaper() { # only where systemd runs: it starts us again when the reaper itself was killed
  case $(systemctl is-system-running 2>/dev/null) in running | degraded | starting) ;; *) return 0 ;; esac
  # systemd itself would replace a variable in braces, by nothing
  # shellcheck disable=SC2016  # expanded by the shell that systemd starts
  systemd-run --quiet --collect --unit="${dir##*/}" --on-active=5 --on-unit-inactive=5 \
    --timer-property=AccuracySec=1s /bin/sh -c \
    'if [ -r "$1/program" ]; then exec /bin/sh "$1/program" second "$1"; fi; systemctl stop "$2"' \
    sh "$dir" "${dir##*/}.timer" >/dev/null 2>&1
}

stop_second_reaper() { # it also stops by itself when it finds no program
  if [ "$(systemctl is-active "${dir##*/}.timer" 2>/dev/null)" = active ]; then
    systemctl stop "${dir##*/}.timer" >/dev/null 2>&1
  fi
  return 0
}

second() { # what the timer starts: acts only when the reaper is dead, or stopped when it should work
  read_record "$dir/reaper" && alive "$pid" "$pid_started" && [ "$state" != T ] && return 0
  is_over || return 0
  end_process reaper
  heal
}
