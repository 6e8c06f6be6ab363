# shellcheck shell=sh
# ---- requests -------------------------------------------------------------------------------------------------

chunks() { # given a number of lines: decoded to stdout, NUL bytes survive
  chunks=$1
  while [ "$chunks" -gt 0 ]; do
    IFS= read -r chunk <&4 || exit 1
    printf '%b' "$chunk"
    chunks=$((chunks - 1))
  done
}

answer() { # given id and status; $dir/out and $dir/err are the answer's two texts
  printf 'done %s %s %s %s\n' "$1" "$2" $(($(wc -c <"$dir/out"))) $(($(wc -c <"$dir/err")))
  cat "$dir/out" "$dir/err"
}

serve_run() { # id, number of lines of stdin
  value <&4 || exit 1
  printf '%s\n' "$value" >"$dir/step" || exit 1
  chunks "$2" >"$dir/in"
  in_group "$1" "$runner" '' "$dir/step" 5<"$dir/in" >"$dir/out" 2>"$dir/err" 4<&-
  status=$?
  rm -f -- "$dir/groups/$1" "$dir/in" "$dir/step"
  answer "$1" "$status"
}

serve_owe() { # id, key, seconds after which it is forced (0: never)
  value <&4 || exit 1
  number=$((number + 1))
  file=$number.$2
  status=0
  if [ -n "$(find_owed "$2")" ]; then
    status=17
  else
    printf '%s\n' "$value" >"$dir/owe.new" || exit 1
    now
    [ "$3" = 0 ] || printf '%s\n' $((now + $3)) >"$dir/due/$file"
    mv -- "$dir/owe.new" "$dir/owed/$file" || exit 1
  fi
  answer "$1" "$status"
}

find_owed() {
  for found in "$dir"/owed/*."$1"; do [ -f "$found" ] && printf '%s' "$found"; done
}

serve_settle() { # id, key
  found=$(find_owed "$2")
  status=0
  if [ -n "$found" ]; then
    undo "$found"
    status=$?
    case $status in 66 | 75) status=1 ;; esac # these are words of ours
    cat "$undo_said.out" >"$dir/out"
    cat "$undo_said.err" >"$dir/err"
  elif [ ! -e "$dir/overdue/$2" ]; then
    status=66
  fi
  [ "$status" = 0 ] && [ -e "$dir/overdue/$2" ] && status=75
  answer "$1" "$status"
}

serve_write() { # id, number of lines
  value <&4 || exit 1
  status=0
  chunks "$2" >"$value" || status=1
  answer "$1" "$status"
}

serve_stop() { # id, id of a group
  status=0
  end_named "$2" || status=1
  answer "$1" "$status"
}

serve_pause() { # id, id of a group, seconds: then the reaper lets it go, unless it is asked for again
  status=1
  now
  if read_record "$dir/groups/$2" && printf '%s\n' $((now + $3)) >"$dir/paused" && : >"$dir/pausable.$2"; then
    signal_group STOP "$pid" && status=0
  fi
  answer "$1" "$status"
}

serve_resume() { # id, id of a group
  rm -f -- "$dir/paused"
  read_record "$dir/groups/$2" && signal_group CONT "$pid"
  answer "$1" 0
}

describe() {
  dir=$1 deadline=''
  is_over && condition=dead || condition=alive
  dir=$mine
  [ "$1" = "$mine" ] && return 0
  printf '%s %s\n' "$condition" "$1"
}

serve_list() { # id: every run's directory but our own
  each_run 'hotfleet-*-*' describe >"$dir/out"
  answer "$1" 0
}

serve_heal() { # id: what a dead run left, with its own journal
  value <&4 || exit 1
  status=0
  case $value in
    /run/hotfleet/hotfleet-*/* | /dev/shm/hotfleet/hotfleet-*/*) status=1 ;;
    /run/hotfleet/hotfleet-*-* | /dev/shm/hotfleet/hotfleet-*-*) heal_other "$value" || status=1 ;;
    *) status=1 ;;
  esac
  answer "$1" "$status"
}

heal_other() {
  dir=$1 deadline=''
  healed=1
  if [ -d "$dir" ] && is_over; then
    end_process reaper
    end_process runner
    end_process listener
    mkdir -p "$dir/groups" "$dir/owed" "$dir/due" # it may have died before it had them
    try_heal
    healed=$?
  elif [ ! -d "$dir" ]; then
    healed=0
  fi
  dir=$mine
  return "$healed"
}

serve_close() { # id: settles what is owed, ends what runs, removes the directory. Fails with what is still owed
  if end_groups && undo_all; then
    end_process listener
    end_strays
    read_record "$dir/reaper" && alive "$pid" "$pid_started" && signal_group KILL "$pid"
    remove || { start_reaper; refuse platform "$dir cannot be removed"; }
    stop_second_reaper
    printf 'done %s 0 0 0\n' "$1"
    exit 0
  fi
  for step in "$dir"/owed/*; do [ -f "$step" ] && cat "$step"; done >"$dir/out"
  cat "$dir"/undo-*.err >"$dir/err" 2>/dev/null
  answer "$1" 1
  : >"$dir/gone" # the reaper goes on with it
  exit 1
}

serve() {
  myself
  runner="$me $started"
  number=100000
  while read -r verb id first second <&4; do
    : >"$dir/out" && : >"$dir/err" || exit 1
    case $verb in
      run) serve_run "$id" "$first" ;;
      owe) serve_owe "$id" "$first" "$second" ;;
      settle) serve_settle "$id" "$first" ;;
      write) serve_write "$id" "$first" ;;
      stop) serve_stop "$id" "$first" ;;
      pause) serve_pause "$id" "$first" "$second" ;;
      resume) serve_resume "$id" "$first" ;;
      list) serve_list "$id" ;;
      heal) serve_heal "$id" ;;
      close) : >"$dir/healing" && serve_close "$id" ;;
      *) exit 2 ;;
    esac
  done
}
