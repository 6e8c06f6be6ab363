# shellcheck shell=sh
# shellcheck disable=SC2154 # $hold is set by who joins this with a hold, a release or an undo
# Stopping services and starting them again. The shell of services.py; $hold is the directory of this hold alone.
# Files there: ran (what ran, a name a line, each written before its stop), alone (what of it starts without what it
#   requires or wants: the others of it that ran are started one by one), stood (what did not run), stopping (the one
#   whose stop is not known to have ended), stopper (who stops it now), over (an undo ran: nothing is stopped any more),
#   busy (the process that works here now), start.<n> (who starts a service), started.<n> (how that ended)
# A hold, its release and its undo may meet, and each may be killed anywhere:
# 1. one works at a time (busy), and who was killed does not keep the next one waiting;
# 2. an undo says "over" first, so that a hold that still stops services ends, and starts what it stopped;
# 3. a stop that was cut off is completed before its service is started: one that still dies would look alive.

service_nap() { sleep 0.1 2>/dev/null || sleep 1; }

service_is_about() { # given a pid and a text: does that process live, with the text in its words
  [ -n "$1" ] && grep -qF -- "$2" "/proc/$1/cmdline" 2>/dev/null
}

service_begin() { # given tenths of a second to wait for who works now
  work_waited=0
  until (set -C && echo "$$" >"$hold/busy") 2>/dev/null; do
    busy=''
    { read -r busy <"$hold/busy"; } 2>/dev/null
    if [ -n "$busy" ] && ! service_is_about "$busy" "${hold%/*}"; then
      mkdir "$hold/dead.$busy" 2>/dev/null && rm -f -- "$hold/busy" # one of those who wait removes it
      continue
    fi
    work_waited=$((work_waited + 1))
    [ "$work_waited" -le "$1" ] || { echo "services are still being stopped or started" >&2; return 1; }
    service_nap
  done
}

service_end() { rm -f -- "$hold/busy"; }

# ---- asking ----------------------------------------------------------------------------------------------------

service_look() { # given a name, sets $seen to runs, stands or changes; fails with $why when nobody knows
  seen='' why=''
  case $1 in
    container:*) service_look_container "${1#container:}" ;;
    *) if [ -d /run/systemd/system ]; then service_look_unit "$1"; else service_look_script "$1"; fi ;;
  esac
}

service_look_container() {
  why=$(docker inspect --type container -f '{{.State.Running}} {{.State.Restarting}}' -- "$1" 2>&1) || return 1
  case $why in
    'true false') seen=runs ;;
    'false false') seen=stands ;;
    *' true') seen=changes ;;
    *) return 1 ;;
  esac
}

service_look_unit() {
  why=$(systemctl show -p LoadState -p ActiveState -- "$1" 2>&1) && service_judge_unit "$why"
}

service_judge_unit() { # given what systemctl showed, sets $seen or $why
  seen='' why=$1
  for word in $1; do
    case $word in
      ActiveState=active | ActiveState=reloading | ActiveState=refreshing) seen=runs ;;
      ActiveState=inactive | ActiveState=failed) seen=stands ;;
      ActiveState=*) seen=changes ;;
    esac
  done
  case $why in *LoadState=not-found*) why="there is no such unit" && return 1 ;; esac
  [ -n "$seen" ]
}

service_look_script() { # LSB: 0 runs, 1 to 3 does not; OpenRC: 32 crashed. A script that knows no status answers anything
  why="there is no such script in /etc/init.d"
  [ -x "/etc/init.d/$1" ] || return 1
  why="its script in /etc/init.d cannot tell whether it runs"
  grep -q -e status -e openrc-run "/etc/init.d/$1" || return 1
  service_init "$1" status </dev/null >/dev/null 2>&1
  case $? in
    0) seen=runs ;;
    1 | 2 | 3 | 32) seen=stands ;;
    *) return 1 ;;
  esac
}

service_init() { # name, what
  if command -v service >/dev/null; then service "$1" "$2"; else "/etc/init.d/$1" "$2"; fi
}

# ---- what hangs together ---------------------------------------------------------------------------------------

# Given a service that runs, sets $leaving to what has to stop with it, in the order of stopping, and $coming to the
# same in the order of starting, the last one first. Fails with a sentence.
service_company() {
  leaving='' coming='' visited=''
  case $1 in
    container:*) leaving=$1 coming=$1 ;;
    *) if [ -d /run/systemd/system ]; then service_visit "$1" || return 1; else leaving=$1 coming=$1; fi ;;
  esac
  seen=runs # others were looked at meanwhile
}

# What would start a unit again meanwhile (sockets, timers, paths) leaves before it, and comes before it. What systemd
# stops along with it and would leave down (what requires it, or is a part of it) leaves before it, and comes after it.
service_visit() {
  case " $visited " in *" $1 "*) return 0 ;; esac
  visited="$visited $1"
  set -- "$1" "$(systemctl show -p LoadState -p ActiveState -p TriggeredBy -p RequiredBy -p RequisiteOf -p BoundBy \
    -p ConsistsOf -p PropagatesStopTo -p Wants -p Requires -- "$1" 2>&1)"
  service_judge_unit "$2" || { echo "nobody knows whether $1 runs: $why" >&2; return 1; }
  case $seen in
    stands) return 0 ;;
    changes) echo "$1 is just being started or stopped" >&2; return 1 ;; # what works once would end half-way
  esac
  ! service_starts_others "$1" "$2" || printf '%s\n' "$1" >>"$hold/alone" || return 1
  for other in $(service_named "$2" TriggeredBy); do service_visit "$other" || return 1; done
  coming="$1 $coming"
  for other in $(service_named "$2" RequiredBy RequisiteOf BoundBy ConsistsOf PropagatesStopTo); do
    service_visit "$other" || return 1
  done
  leaving="$leaving $1"
}

# Given what systemctl showed, and properties, prints the units that they name. It quotes a name that holds a
# backslash, and doubles that: "a\\x2db.service"
service_named() {
  showed=$1
  shift
  for property in "$@"; do printf '%s\n' "$showed" | sed -n "s/^$property=//p"; done | sed 's/"//g; s/\\\\/\\/g'
}

# Given a unit and what systemctl showed: would its start also start what stands? A target's does, and that of an
# umbrella of whose parts one stands.
service_starts_others() {
  case $1 in *.target) return 0 ;; esac
  parts=" $(service_named "$2" ConsistsOf | tr '\n' ' ') "
  for other in $(service_named "$2" Wants Requires); do
    case $parts in *" $other "*) ;; *) continue ;; esac
    service_look "$other" && [ "$seen" = stands ] && return 0
  done
  return 1
}

# ---- stopping --------------------------------------------------------------------------------------------------

services_stop() {
  : >"$hold/ran" || return 1
  service_begin 0 || return 1
  service_stop_each "$@"
  stop_status=$?
  service_end
  return "$stop_status"
}

service_stop_each() {
  for service in "$@"; do
    service_look "$service" || { echo "nobody knows whether $service runs: $why" >&2; return 1; }
    case $seen in
      stands)
        ! grep -qxF -e "$service" -e "$service.service" "$hold/ran" || continue # it went down with one before it
        printf 'note %s did not run: it is neither stopped nor started\n' "$service"
        printf '%s\n' "$service" >>"$hold/stood" || return 1
        ;;
      runs) service_stop_one "$service" || return 1 ;;
      *) echo "$service is just being started or stopped" >&2; return 1 ;;
    esac
  done
}

service_stop_one() {
  service_company "$1" || return 1
  # shellcheck disable=SC2086 # names of units hold no blanks
  printf '%s\n' $coming >>"$hold/ran" || return 1
  for name in $leaving; do
    [ ! -e "$hold/over" ] || { echo "the time for it is over" >&2; return 1; }
    printf '%s\n' "$name" >"$hold/stopping" || return 1
    service_stop "$name" || { echo "$name could not be stopped" >&2; return 1; }
    { service_look "$name" && [ "$seen" = stands ]; } || { echo "$name still runs" >&2; return 1; }
    rm -f -- "$hold/stopping"
  done
  service_was_clean "$1"
}

service_stop() { # a process of its own: it may outlive this one, and then the next one waits for it
  service_ask_stop "$1" &
  stopper=$!
  printf '%s\n' "$stopper" >"$hold/stopper"
  wait "$stopper"
  stop_ended=$?
  head -c 2000 -- "$hold/stop.err" >&2
  return "$stop_ended"
}

service_ask_stop() { # descriptors of other holds are not for what works on; who reads stderr would wait for its end
  case $1 in
    container:*) docker stop -- "${1#container:}" >/dev/null ;;
    *) if [ -d /run/systemd/system ]; then systemctl stop -- "$1"; else service_init "$1" stop >/dev/null; fi ;;
  esac 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- </dev/null 2>"$hold/stop.err"
}

# Who stopped a service was killed, its init script goes on: what that does last (it removes the pid file) would hit
# the service that was started again. 10 s at most: a stop that hangs is stopped once more.
service_await_stopper() {
  { read -r stopper <"$hold/stopper"; } 2>/dev/null || return 0
  stop_waited=0
  while service_is_about "$stopper" "${hold%/*}" && [ "$stop_waited" -lt 100 ]; do
    stop_waited=$((stop_waited + 1))
    service_nap
  done
}

service_was_clean() { # what had to be killed left its files as a power cut does
  case $1 in
    container:*) [ "$(docker inspect -f '{{.State.ExitCode}}' -- "${1#container:}" 2>&1)" != 137 ] ;;
    *)
      [ -d /run/systemd/system ] || return 0
      case $(systemctl show -p Result -- "$1") in
        Result=timeout | Result=signal | Result=core-dump | Result=oom-kill | Result=watchdog) false ;;
      esac
      ;;
  esac || { echo "$1 did not end by itself, it had to be killed: its files are no clean state" >&2; return 1; }
}

# ---- starting --------------------------------------------------------------------------------------------------

services_undo() { # alone, in another shell; also when the hold never ran: then it cannot begin any more
  mkdir -m 0700 -- "$hold" 2>/dev/null
  undo_status=0
  [ -e "$hold/over" ] || [ -e "$hold/busy" ] || service_check_still || undo_status=3
  : >"$hold/over" || return 1
  services_start || [ "$undo_status" = 3 ] || undo_status=1 # who tries again learns whether it runs
  return "$undo_status"
}

services_start() { # what ran, the last one that was stopped first; 3: it did not stand still until now
  [ -f "$hold/ran" ] || return 0
  begin_status=0
  [ -e "$hold/over" ] || service_check_still || begin_status=3
  service_begin 150 || return 1
  service_start_each || [ "$begin_status" = 3 ] || begin_status=1
  service_end
  return "$begin_status"
}

service_check_still() { # what was stopped, or stood, and runs before we started it was read while it moved
  [ -f "$hold/ran" ] && [ ! -e "$hold/begun" ] && [ ! -e "$hold/stopping" ] || return 0
  cat "$hold/ran" "$hold/stood" 2>/dev/null | while read -r service; do
    { service_look "$service" && [ "$seen" = stands ]; } && continue
    echo "$service was started by somebody else while it had to stand still" >&2
    return 1
  done
}

service_start_each() {
  start_status=0 start_order='' number=0
  while read -r service; do start_order="$service $start_order"; done <"$hold/ran"
  if { read -r service <"$hold/stopping"; } 2>/dev/null; then
    service_await_stopper
    service_stop "$service" # it fails when it stands already
    rm -f -- "$hold/stopping"
  fi
  : >"$hold/begun"
  for service in $start_order; do
    number=$((number + 1))
    service_start_one "$number" "$service" || start_status=1
  done
  return "$start_status"
}

service_start_one() { # number, name
  service_look "$2" && [ "$seen" = runs ] && return 0
  service_begin_start "$1" "$2" || return 1
  start_waited=0
  until service_look "$2" && [ "$seen" = runs ]; do
    started=''
    { read -r started <"$hold/started.$1"; } 2>/dev/null
    start_waited=$((start_waited + 1))
    if [ "${started:-0}" != 0 ] || [ "$start_waited" -gt "$START_WAIT" ]; then
      rm -f -- "$hold/start.$1"
      [ -n "$seen" ] || echo "nobody knows whether $2 runs: $why" >&2
      echo "$2 does not run again" >&2
      return 1
    fi
    service_nap
  done
}

service_begin_start() { # in a session of its own: whoever is killed meanwhile, nothing is started half or twice
  starter=''
  { read -r starter <"$hold/start.$1"; } 2>/dev/null
  service_is_about "$starter" "$2" && return 0
  rm -f -- "$hold/started.$1"
  alone=''
  ! grep -qsxF -e "$2" "$hold/alone" || alone=--job-mode=ignore-dependencies
  # shellcheck disable=SC2016 # expanded by the new shell
  set -- "$1" setsid /bin/sh -c "$START_ONE" hotfleet "$hold/started.$1" "$2" "$alone"
  number=$1
  shift
  # a background process ignores Ctrl-C, and so would the service
  if env --default-signal true 2>/dev/null; then set -- env --default-signal "$@"; fi
  # 022 as init has it: with ours nobody could read what a service writes
  (umask 022 && exec "$@") </dev/null >/dev/null 2>&1 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- &
  printf '%s\n' "$!" >"$hold/start.$number"
}

START_WAIT=600
# The words: the file for its status, the name, an option of systemctl or nothing.
# shellcheck disable=SC2016 # expanded by the new shell
START_ONE='
case $2 in
  container:*) docker start -- "${2#container:}" ;;
  *)
    if [ -d /run/systemd/system ]; then systemctl start $3 -- "$2"
    elif command -v service >/dev/null; then service "$2" start
    else "/etc/init.d/$2" start; fi
    ;;
esac
echo "$?" >"$1" 2>/dev/null
'
