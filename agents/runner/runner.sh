#!/bin/sh
# The program that supervises one run on a device. Constant: it is sent by a bootstrap that checks its SHA-256.
# POSIX sh only (dash, busybox ash). Words: see agents/runner/__init__.py.
#
# Processes of a run, all named by the run's directory $dir (0700, on a tmpfs):
#   main      reads requests, runs steps, answers                     (ends with the channel)
#   listener  reads the channel, extends the deadline, feeds main     (lives while main is busy)
#   reaper    own session; heals when the deadline passed, the channel ended or main died
#   attach    one a long program: holds a channel of its own, ends the program's group when that closes
# Files: deadline runner reaper listener program, groups/<id> "pid started owner owner-started",
#   owed/<number>.<key> (shell source of an undo step), due/<number>.<key> (uptime when it is forced), overdue/<key>,
#   memory.<id>, disk.<id> and processor.<id> (see cgroups.sh), watcher "pid started", paused (see watching.sh),
#   pausable.<id>: a program that the watcher may stop

set -u
umask 077
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
unset ENV BASH_ENV CDPATH LD_PRELOAD LD_LIBRARY_PATH
cd / || exit 125 # never keep a file system busy

# ---- the start of a run ---------------------------------------------------------------------------------------

refuse() { # given a code and a sentence
  printf 'refused %s %s\n' "$1" "$2"
  exit 125
}

find_base() { # sets $base to the tmpfs that holds runs
  base=''
  while read -r _ point kind _; do
    [ "$kind" = tmpfs ] || continue
    case $point in
      /run) base=/run/hotfleet ;;
      /dev/shm) base=${base:-/dev/shm/hotfleet} ;;
    esac
  done </proc/mounts
  [ -n "$base" ]
}

make_base() { # /dev/shm is open to everybody: the directory must be root's own
  mkdir -p "$base" 2>/dev/null
  # shellcheck disable=SC2046,SC2012  # mode and owner by number are words of a known form; stat differs by platform
  set -- $(ls -ldn "$base")
  case ${1-} in drwx------*) [ "${3-}" = 0 ] ;; *) return 1 ;; esac
}

prepare() { # in a session of its own: whoever makes the directory also arms the reaper, or nobody does
  base=${dir%/*}
  make_base || return 1
  mkdir "$dir" "$dir/groups" "$dir/owed" "$dir/due" "$dir/overdue" || return 1
  printf '%s %s\n' "$1" "$2" >"$dir/runner"
  printf '%s\n' "$3" >"$dir/silence"
  silence=$3
  extend
  printf '%s\n' "$HOTFLEET_PROGRAM" >"$dir/program"
  unset HOTFLEET_PROGRAM
  start_reaper
}

extend() {
  now
  printf '%s\n' $((now + silence)) >"$dir/deadline"
}

each_run() { # given a pattern of names, calls $2 with each directory
  for each in "/run/hotfleet/"$1 "/dev/shm/hotfleet/"$1; do
    [ -d "$each" ] && [ ! -L "$each" ] && "$2" "$each"
  done
}

refuse_when_alive() {
  [ "$1" = "$mine" ] && return 0
  dir=$1 deadline=''
  is_over && dir=$mine && return 0
  busy=${dir##*/}
  dir=$mine
  remove
  refuse busy "$busy"
}

listen() { # stdin is the channel, stdout feeds main
  while IFS= read -r line; do
    case $line in
      h)
        { extend; } 2>/dev/null
        read_record "$dir/reaper" && { alive "$pid" "$pid_started" || start_reaper; }
        ;;
      k\ *) end_named "${line#k }" >/dev/null 2>&1 & ;;
      *) printf '%s\n' "$line" ;;
    esac
  done
  { : >"$dir/gone"; } 2>/dev/null
}

lead() {
  [ "$(id -u)" = 0 ] || refuse privilege "the program does not run as root"
  for tool in setsid sha256sum mkfifo env cat wc rm sleep; do
    command -v "$tool" >/dev/null || refuse tool "$tool"
  done
  value && name=$value && value && silence=$value && value && pattern=$value || exit 125
  find_base || refuse platform "neither /run nor /dev/shm is a tmpfs"
  dir=$base/$name
  mine=$dir
  [ ! -e "$dir" ] || refuse busy "$name"
  myself
  # shellcheck disable=SC2154,SC2016  # $p is the bootstrap's; $HOTFLEET_PROGRAM is expanded by the new shell
  HOTFLEET_PROGRAM=$p setsid /bin/sh -c 'eval "$HOTFLEET_PROGRAM"' \
    hotfleet prepare "$dir" "$me" "$started" "$silence" </dev/null >/dev/null || refuse platform "$base is not usable"
  each_run "$pattern" refuse_when_alive
  start_second_reaper
  exec 3<&0 </dev/null # a background process would get /dev/null for stdin: move the channel away first
  mkfifo "$dir/requests" || exit 125
  { myself; printf '%s %s\n' "$me" "$started" >"$dir/listener"; listen; } <&3 >"$dir/requests" 3<&- &
  exec 4<"$dir/requests" 3<&-
  rm -f -- "$dir/requests"
  printf 'ready %s\n' "$dir"
  serve
}

# ---- which of them ---------------------------------------------------------------------------------------------

mode=${1-}
[ -n "$mode" ] || { value && mode=$value; } || exit 125
dir=${2-}
case $mode in
  lead) lead ;;
  attach)
    [ -n "$dir" ] && attach
    value && dir=$value || exit 125
    [ -r "$dir/program" ] || refuse healed "the run is over"
    exec env -i PATH="$PATH" HOME=/root HOTFLEET_RUN="${dir##*/}" /bin/sh "$dir/program" attach "$dir"
    ;;
  prepare) prepare "$3" "$4" "$5" ;;
  reap) reap ;;
  second) second ;;
  watch) watch "$3" "$4" "$5" ;;
  inside) id=$3 && inside <"$dir/start.$id" ;;
  *) exit 2 ;;
esac
