# shellcheck shell=sh
# ---- watching: what the device feels, and pauses because of it ------------------------------------------------
# A long program of its own. Each look reads a few files of /proc with builtins and prints one line:
#   baseline <cpu> <io> <memory>      pressure of the last minute before, in percent ("-": this kernel has none)
#   sample <uptime> <paused 0|1> <cpu busy> <cpu all> <pressure: cpu, io, io full, memory, memory full>
#     <kB available> <kB cached> <bytes received> <bytes sent> <disk:ticks:operations:waited ms:sectors read:written>...
#   paused <uptime> <hundredths of a second> <stall in 1/10000> <reason>
#   grew <bytes>                      the memory limit
#   hurried <uptime> <ran> <waited>   in 1/10000 of the time: a small share of the processors for a minute
#   reads <uptime> <bytes a second>   the most that programs may read from now on, 0: no limit
# The file paused holds the uptime until which programs may be stopped; the reaper lets them go after it.

read_pressure() { # given cpu, io or memory: sets $some $full (microseconds in all) and $minute (percent)
  some=- full=- minute=-
  { while read -r word _ minutes _ total; do
    case $word in
      some) some=${total#total=} minute=${minutes#avg60=} ;;
      full) full=${total#total=} ;;
    esac
  done <"/proc/pressure/$1"; } 2>/dev/null
}

find_disks() { # real ones, not what is made of them; at most 16
  disks=''
  count=0
  for disk in /sys/block/*; do
    if [ ! -e "$disk/device" ] || [ ! -r "$disk/stat" ] || [ "$count" -ge 16 ]; then continue; fi
    disks="$disks ${disk##*/}"
    count=$((count + 1))
  done
}

# $io: the words of a sample; of all disks together $ticks (ms busy), $sectors (read), $writes and what they waited
read_disks() {
  io='' ticks=0 sectors=0 writes=0 waited_ms=0
  for disk in $disks; do
    # flushes are counted since Linux 5.5
    read -r reads _ read_sectors read_ms written _ written_sectors write_ms _ busy_ms _ _ _ _ _ flushed flush_ms _ \
      <"/sys/block/$disk/stat" || continue
    io="$io $disk:$busy_ms:$((reads + written)):$((read_ms + write_ms)):$read_sectors:$written_sectors"
    ticks=$((ticks + busy_ms)) sectors=$((sectors + read_sectors))
    writes=$((writes + written + ${flushed:-0})) waited_ms=$((waited_ms + write_ms + ${flush_ms:-0}))
  done 2>/dev/null
}

read_memory() {
  available=- cached=-
  while read -r key kilobytes _; do
    case $key in
      MemAvailable:) available=$kilobytes ;;
      Cached:) cached=$kilobytes && break ;;
    esac
  done </proc/meminfo
}

read_network() { # every interface but the loop
  received=0 sent=0
  while IFS=: read -r interface counters; do
    # shellcheck disable=SC2086  # the counters are the words that are wanted
    set -- $counters
    case $interface in *'|'* | *' lo' | lo) continue ;; esac
    received=$((received + $1)) sent=$((sent + $9))
  done </proc/net/dev
}

read_uptime() { # sets $uptime in hundredths of a second
  read -r uptime _ </proc/uptime
  uptime=${uptime%.*}${uptime#*.}
}

sample() { # given whether programs are stopped: prints a line; sets $stall (1/10000 of the time since the last one)
  before=$uptime ticks_before=$ticks stall_before=$pressure
  read_uptime
  read -r _ user nice system idle wait irq softirq steal _ </proc/stat
  busy=$((user + nice + system + irq + softirq + steal))
  read_pressure cpu
  cpu=$some
  read_pressure memory
  memory="$some $full"
  read_memory
  read_network
  read_disks
  read_pressure io
  [ -z "$limited" ] || some=- full=- # it would be what our own programs wait for their limit
  pressure=$some
  printf 'sample %s %s %s %s %s %s %s %s %s %s %s %s%s\n' "$uptime" "$1" "$busy" $((busy + idle + wait)) \
    "$cpu" "$some" "$full" "$memory" "$available" "$cached" "$received" "$sent" "$io" || leave
  passed=$((uptime - before))
  [ "$passed" -gt 0 ] && [ "$pressure" != - ] && [ "$stall_before" != - ] || return 0
  stall=$(((pressure - stall_before) / passed)) used=$(((ticks - ticks_before) * 1000 / passed))
}

signal_programs() { # given a signal, for every program that may be paused; fails when there is none
  reached=1
  for mark in "$dir"/pausable.*; do
    if read_record "$dir/groups/${mark##*.}" && alive "$pid" "$pid_started"; then
      signal_group "$1" "$pid" && reached=0
    fi
  done
  return "$reached"
}

resume() {
  [ -e "$dir/paused" ] || return 0
  signal_programs CONT
  rm -f -- "$dir/paused"
}

resume_overdue() { # of the reaper: the watcher may have died in a pause
  { read -r until <"$dir/paused"; } 2>/dev/null || return 0
  now
  [ "$now" -lt "${until:-0}" ] || resume
}

leave() {
  resume
  share_all
  free_reading
  rm -f -- "$dir/watcher"
  exit 0
}

pause() { # stops what may be paused for $length seconds; sets $stall and $used of its last second
  began=$uptime felt=$stall
  printf '%s\n' $((uptime / 100 + length + 3)) >"$dir/paused" || return 1
  signal_programs STOP || { resume; return 1; }
  nap # what was asked of the disks before is answered: it is not measured
  sample 1
  left=$length
  while [ "$left" -gt 0 ] && [ -e "$dir/paused" ]; do
    sleep 1
    sample 1
    left=$((left - 1))
  done
  since=$((since + uptime - began)) # it neither ran nor waited
  resume
}

# A pause is a measurement too. Pressure stays high while nothing of ours runs: others make it, and stopping for
# ever would help nobody. Nobody else uses the disk: what is felt is the backup's own waiting.
throttle() {
  if [ "$stall" -le "$ceiling" ]; then
    calm=$((calm + 1))
    [ "$calm" -lt 3 ] || length=1
    return 0
  fi
  calm=0
  [ "$uptime" -ge "$quiet" ] || return 0
  pause || return 0
  reason=backup
  if [ "$stall" -gt "$ceiling" ]; then
    reason=others quiet=$((uptime + 800)) length=4
  elif [ "$stall" -lt 100 ] && [ "$used" -lt 100 ]; then
    reason=alone quiet=$((uptime + 3000)) length=1
  else
    length=$((length * 2))
    [ "$length" -le 8 ] || length=8
  fi
  [ "$length" -le "$longest" ] || length=$longest
  printf 'paused %s %s %s %s\n' "$began" $((uptime - began)) "$felt" "$reason"
}

grow_memories() {
  for record in "$dir"/memory.*; do
    [ -f "$record" ] && grow_memory "${record##*.}" && printf 'grew %s\n' "$grown"
  done
}

watch() { # given seconds between looks, the budget in 1/10000 of the time ("-": never pause), the longest pause
  step=$1 budget=$2 longest=$3
  find_disks
  read_pressure cpu
  baseline=$minute
  read_pressure memory
  memory=$minute
  read_pressure io
  printf 'baseline %s %s %s\n' "$baseline" "$minute" "$memory"
  if [ "$minute" = - ]; then
    budget=-
  elif [ "$budget" != - ]; then # 1${...} - 100: "08" would be an octal number
    ceiling=$((${minute%.*} * 100 + 1${minute#*.} - 100 + budget))
    [ "$ceiling" -le 9500 ] || ceiling=9500
  fi
  trap '' PIPE
  trap 'resume; sample 0; leave' TERM INT HUP
  find_counts
  myself
  printf '%s %s\n' "$me" "$started" >"$dir/watcher" || exit 1
  known='' rests='' since=0 hurry=0
  uptime=0 ticks=0 pressure=- stall=0 used=0 calm=0 quiet=0 length=1
  limited='' applied=0 told=0 uptime_before=0 writes_before=0 waited_ms_before=0 sectors_before=0
  speed_now=0 rest=0 smooth=0 free=0 breathes=0 breathe_at=0
  while [ -d "$dir" ]; do
    sample $((breathes > 0))
    [ "$budget" = - ] || mind_reading
    [ "$budget" = - ] || [ -n "$limited" ] || [ "$breathes" -gt 0 ] || throttle
    grow_memories
    mind_processor
    sleep "$step"
  done
}
