# shellcheck shell=sh
# shellcheck disable=SC2154 # $hold is set by who joins this with services.sh and a script of its own
# Services as keepers of an instance (see keepers.py). Unlike a cold backup, this stops what crashes and is started
# again and again, and starts what stood: somebody asked for it to come back.

keeper_note() {
  [ ! -e "$hold/names" ] || return 0
  { : >"$hold/ran.new" && : >"$hold/leaving.new" && : >"$hold/names.new"; } || return 1
  for name in $(keeper_names); do
    service_look "$name" || { echo "nobody knows whether $name runs: $why" >&2; return 1; }
    leaving=$name coming=$name
    # one that is just being started fails in the middle of that, again and again: it counts as one that ran
    [ "$seen" != runs ] || service_company "$name" || return 1
    # shellcheck disable=SC2086 # names of units hold no blanks
    printf '%s\n' $leaving >>"$hold/leaving.new" || return 1
    # shellcheck disable=SC2086
    [ "$seen" = stands ] || printf '%s\n' $coming >>"$hold/ran.new" || return 1
    # shellcheck disable=SC2086
    printf '%s\n' $coming >>"$hold/names.new" || return 1
  done
  mv -- "$hold/leaving.new" "$hold/leaving" && mv -- "$hold/ran.new" "$hold/ran" &&
    mv -- "$hold/names.new" "$hold/names"
}

keeper_stop() {
  [ -e "$hold/leaving" ] || return 0
  keeper_status=0
  while read -r name; do keeper_stop_one "$name" || keeper_status=1; done <"$hold/leaving"
  return "$keeper_status"
}

keeper_stop_one() {
  service_look "$1" && [ "$seen" = stands ] && return 0
  service_stop "$1" || echo "$1 could not be stopped" >&2
  keeper_waited=0
  until service_look "$1" && [ "$seen" = stands ]; do
    keeper_waited=$((keeper_waited + 1))
    [ "$keeper_waited" -le 300 ] || { echo "$1 still runs" >&2; return 1; }
    service_nap
  done
}

keeper_start() {
  [ -s "$1" ] || return 0
  keeper_order='' keeper_number=0 keeper_status=0
  while read -r name; do keeper_order="$name $keeper_order"; done <"$1"
  for name in $keeper_order; do
    keeper_number=$((keeper_number + 1))
    # one that failed too often is refused by systemd until it forgets that
    case $name in container:*) ;; *) [ ! -d /run/systemd/system ] || systemctl reset-failed -- "$name" 2>/dev/null ;; esac
    service_start_one "$keeper_number" "$name" || keeper_status=1
  done
  return "$keeper_status"
}

keeper_runs() {
  for name in $(keeper_names); do { service_look "$name" && [ "$seen" = runs ]; } || return 1; done
}
