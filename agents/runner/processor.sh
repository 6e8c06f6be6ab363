# shellcheck shell=sh
# ---- the share of the processor of a long program -------------------------------------------------------------
# A program that yields gets only what nobody else wants (cpu.idle): it alone is taken off a processor at once, a
# small weight still keeps it for its whole slice while an application waits. Only the watcher makes it idle, since
# somebody has to see that it starves; without one (it died: the reaper sees to it) it has the weight of its niceness.

weigh() { # given a niceness, sets $weight: 10000 is everybody else's, a step of nice is a fifth less
  weight=10000 steps=$1
  while [ "$steps" != - ] && [ "$steps" -gt 0 ]; do
    weight=$((weight * 4 / 5)) steps=$((steps - 1))
  done
}

share() { # given kind, place and a weight, or "idle"
  case $1,$3 in
    scope,idle) systemctl set-property --runtime "$2" CPUWeight=idle ;; # systemd 252
    scope,*) systemctl set-property --runtime "$2" CPUWeight=$((($3 + 99) / 100)) ;;
    *,idle) [ -e "$2/cpu.idle" ] && printf '1\n' >"$2/cpu.idle" ;; # Linux 5.15
    # a weight is refused while it is idle, and forgotten when it was
    *) [ ! -e "$2/cpu.idle" ] || printf '0\n' >"$2/cpu.idle" ;;
  esac 2>/dev/null || return 1
  case $1,$3 in
    *,idle) ;;
    v1,*) printf '%s\n' $(($3 * 1024 / 10000)) >"$2/cpu.shares" ;;
    v2,*) printf '%s\n' $((($3 + 99) / 100)) >"$2/cpu.weight" ;;
  esac 2>/dev/null
}

confine_processor() { # given a niceness. Where nobody can, nice alone is what there is
  find_group cpu || return 0
  place=$place/$name
  weigh "$1"
  printf '%s %s %s\n' "$kind" "$place" "$weight" >"$dir/processor.$id" || exit 125
  { [ -d "$place" ] || mkdir "$place"; } 2>/dev/null && share "$kind" "$place" "$weight" \
    && { printf '0\n' >"$place/cgroup.procs"; } 2>/dev/null && return 0
  rmdir "$place" 2>/dev/null # of version 2 it may be the one of the memory, which we live in
  rm -f -- "$dir/processor.$id"
}

is_shared() { # given a pid and a name: does it live in its cgroup yet
  while IFS=: read -r _ controllers path; do
    case ,$controllers,:${path##*/} in
      *,cpu,*:"$2" | *,cpu,*:"$2.scope" | ,,:"$2" | ,,:"$2.scope") return 0 ;;
    esac
  done <"/proc/$1/cgroup"
  return 1
} 2>/dev/null

read_shares() { # sets $yielding (ids), $ran and $waited: nanoseconds on a processor, and for one, of all their threads
  yielding='' ran=0 waited=0
  for record in "$dir"/processor.*; do
    if ! read_record "$dir/groups/${record##*.}" || ! is_shared "$pid" "${dir##*/}-${record##*.}"; then continue; fi
    yielding="$yielding ${record##*.}"
    for thread in "/proc/$pid/task/"*; do
      { read -r running waiting _ <"$thread/schedstat"; } 2>/dev/null || continue
      ran=$((ran + running)) waited=$((waited + waiting))
    done
  done
}

share_all() { # given "idle" or nothing: their own weight. Fails where that is not possible
  shared=0
  for record in "$dir"/processor.*; do
    { read -r kind place weight <"$record"; } 2>/dev/null || continue
    share "$kind" "$place" "${1:-$weight}" || shared=1
  done
  return "$shared"
}

share_overdue() { # of the reaper: the watcher died, and nobody sees what starves
  read_record "$dir/watcher" || return 0
  alive "$pid" "$pid_started" && return 0
  share_all
  free_reading
  rm -f -- "$dir/watcher"
}

find_counts() { # where the kernel does not count who waits for a processor, nothing may be idle
  can_yield=''
  { read -r running _ </proc/self/schedstat; } 2>/dev/null && [ "${running:-0}" -gt 0 ] && can_yield=1
}

# Nothing may stand still for ever, since its snapshot lives on: what waited for most of ten seconds and got less than
# a tenth of them has its weight for a minute.
mind_processor() {
  [ -n "$can_yield" ] && [ "$uptime" -ge "$hurry" ] || return 0
  read_shares
  if [ "$hurry" -gt 0 ] || [ "$yielding" != "$known" ]; then
    hurry=0 known=$yielding rests=''
    share_all idle && rests=1
  elif [ -z "$rests" ] || [ $((uptime - since)) -lt 1000 ]; then
    return 0
  else
    window=$(((uptime - since) * 1000)) # hundredths of a second, nanoseconds, 1/10000
    got=$(((ran - ran_before) / window)) wanted=$(((waited - waited_before) / window))
    if [ "$wanted" -gt 8000 ] && [ "$got" -ge 0 ] && [ "$got" -lt 1000 ]; then
      hurry=$((uptime + 6000))
      share_all
      printf 'hurried %s %s %s\n' "$uptime" "$got" "$wanted"
    fi
  fi
  since=$uptime ran_before=$ran waited_before=$waited
}
