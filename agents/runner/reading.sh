# shellcheck shell=sh
# ---- how fast long programs read ------------------------------------------------------------------------------
# What reads much always has something in the queue of a disk, and the commit of an application waits behind it: no
# priority takes back what the disk already has. So the watcher keeps the time that a write takes near to what it takes
# while nothing is read, by a limit of the kernel on what our programs read. Nobody writes: there is no limit.
# disk.<id> "kind place": see cgroups.sh.

# Not slower than this: a read that waits for its turn may hold what a write of the same file system waits for.
slowest=16777216 first=33554432 fastest=536870912 # bytes a second

confine_reading() { # in the program's own process. Where nobody can, it may still be paused
  find_group blkio || find_group io || return 0
  place=$place/$name
  printf '%s %s\n' "$kind" "$place" >"$dir/disk.$id" || exit 125
  { [ -d "$place" ] || mkdir "$place"; } 2>/dev/null && { printf '0\n' >"$place/cgroup.procs"; } 2>/dev/null && return 0
  rmdir "$place" 2>/dev/null # of version 2 it may be the one of the memory, which we live in
  rm -f -- "$dir/disk.$id"
}

# A disk that turns does a hundred small reads a second, whatever their bytes are: both are limited.
set_reading() { # given kind, place and bytes a second, 0: as much as there is
  kind=$1 unit=$2 speed=$3 reads=$((($3 + 131071) / 131072))
  case $kind,$speed in v2,0) speed=max reads=max ;; scope,0) speed=infinity reads=infinity ;; esac
  set --
  for disk in $disks; do
    read -r number <"/sys/block/$disk/dev" || continue
    case $kind in
      v1)
        printf '%s %s\n' "$number" "$speed" >"$unit/blkio.throttle.read_bps_device" || return 1
        printf '%s %s\n' "$number" "$reads" >"$unit/blkio.throttle.read_iops_device" || return 1
        ;;
      v2) printf '%s rbps=%s riops=%s\n' "$number" "$speed" "$reads" >"$unit/io.max" || return 1 ;;
      scope) set -- "$@" "IOReadBandwidthMax=/dev/block/$number $speed" "IOReadIOPSMax=/dev/block/$number $reads" ;;
    esac
  done
  [ "$kind" != scope ] || systemctl set-property --runtime "$unit" "$@"
} 2>/dev/null

limit_reading() { # given bytes a second, 0: none. Sets $limited when a program has to obey it
  asked=$1
  for record in "$dir"/disk.*; do [ -e "$record" ] && asked="$asked ${record##*.}"; done
  [ "$asked" != "$applied" ] || return 0
  applied=$asked limited='' stall=0
  for record in "$dir"/disk.*; do
    { read -r kind place <"$record"; } 2>/dev/null && set_reading "$kind" "$place" "$1" && limited=$1
  done
  [ "$limited" != 0 ] || limited=''
  [ "${limited:-0}" = "$told" ] || printf 'reads %s %s\n' "$uptime" "${limited:-0}"
  told=${limited:-0}
}

free_reading() {
  find_disks
  for record in "$dir"/disk.*; do
    { read -r kind place <"$record"; } 2>/dev/null && set_reading "$kind" "$place" 0
  done
}

# $felt: microseconds that a write took since the last look, 0: hardly anybody writes; $got: bytes read a second
feel_disks() {
  passed=$((uptime - uptime_before)) wrote=$((writes - writes_before))
  took=$((waited_ms - waited_ms_before)) got=$((sectors - sectors_before))
  uptime_before=$uptime writes_before=$writes waited_ms_before=$waited_ms sectors_before=$sectors
  [ "$passed" -ge 50 ] && [ "$passed" -lt 1000 ] || return 1
  got=$((got * 51200 / passed)) felt=0
  [ $((wrote * 10)) -lt "$passed" ] || felt=$((took * 1000 / wrote + 1)) # ten a second
}

# Now and then the programs stand still for two looks: what a write takes in the second one is the measure. When nobody
# writes in it, the writes before were the backup's own (its repository is on this machine). They are stopped, not just
# limited to nearly nothing: what is stopped holds no lock of a file system.
mind_reading() {
  feel_disks || return 0
  if [ "$breathes" -gt 0 ]; then
    breathes=$((breathes - 1))
    [ "$breathes" -eq 0 ] || return 0
    resume
    rest=$felt breathe_at=$((uptime + 6000))
    [ "$felt" -gt 0 ] || free=$((uptime + 3000)) speed_now=0
  elif [ "$felt" -eq 0 ] || [ "$uptime" -lt "$free" ]; then
    speed_now=$((speed_now * 2))
    [ "$speed_now" -lt "$fastest" ] || speed_now=0
  elif [ "$got" -lt 2000000 ]; then
    rest=$((rest == 0 ? felt : (rest * 3 + felt) / 4))
    [ "$speed_now" -gt 0 ] || speed_now=$first breathe_at=$((uptime + 500))
  elif [ "$rest" -eq 0 ] || [ "$uptime" -ge "$breathe_at" ]; then
    [ "$speed_now" -gt 0 ] || speed_now=$first
    breathes=2
    { printf '%s\n' $((uptime / 100 + 5)) >"$dir/paused" && signal_programs STOP; } || { resume && breathes=0; }
  else
    pace_reading
  fi
  [ "$breathes" -gt 0 ] || limit_reading "$speed_now"
}

pace_reading() { # sets $speed_now by what writes feel: a quarter more than without us is too much
  [ "$speed_now" -gt 0 ] || speed_now=$first
  smooth=$(((smooth + felt) / 2))
  if [ $((smooth * 4)) -gt $((rest * 5 + 40)) ]; then
    speed_now=$((speed_now * 3 / 4))
  else
    speed_now=$((speed_now * 5 / 4))
  fi
  if [ "$speed_now" -lt "$slowest" ]; then # nothing helps: perhaps it is not the backup
    speed_now=$slowest
    [ "$breathe_at" -le $((uptime + 1000)) ] || breathe_at=$((uptime + 1000))
  fi
  [ "$speed_now" -le "$fastest" ] || speed_now=$fastest
}
