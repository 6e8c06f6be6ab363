# shellcheck shell=sh
# ---- long programs --------------------------------------------------------------------------------------------

attach() { # stdin: id, number of lines for the namespace, these lines, number of variables, name and value of each
  read -r id lines || exit 125
  while [ "$lines" -gt 0 ]; do
    IFS= read -r line || exit 125
    printf '%s\n' "$line"
    lines=$((lines - 1))
  done >"$dir/start.$id" || refuse healed "the run is over"
  read -r variables || exit 125
  while [ "$variables" -gt 0 ]; do
    value && variable=$value && value || exit 125
    export "$variable=$value"
    variables=$((variables - 1))
  done
  exec 3<&0 </dev/null
  myself
  holder="$me $started"
  (
    enter "$id" "$holder"
    exec setsid unshare -m /bin/sh "$dir/program" inside "$dir" "$id"
  ) 3<&- &
  program=$!
  { while read -r _; do :; done; end_named "$id"; } <&3 3<&- >/dev/null 2>&1 &
  watcher=$!
  exec 3<&-
  wait "$program"
  status=$?
  kill -s KILL "$watcher" 2>/dev/null
  rm -f -- "$dir/groups/$id" "$dir/pausable.$id"
  release_groups "$id"
  exit "$status"
}

check_private() { # the fields before " - ": an optional "shared:N" or "master:N" means that others see our mounts
  while read -r line; do
    case "${line%% - *} " in *' shared:'* | *' master:'*) return 1 ;; esac
  done </proc/self/mountinfo
}

is_read_only() { # given a path as it is escaped in mountinfo: is the topmost mount there read-only
  mode=''
  while read -r _ _ _ _ point options _; do [ "$point" = "$1" ] && mode=$options; done </proc/self/mountinfo
  case ,$mode, in *,ro,*) return 0 ;; *) return 1 ;; esac
}

hold() { # given what and a place: a place that stays reachable when the original is covered
  if [ -d "$1" ]; then mkdir -p "$2"; else : >"$2"; fi
  mount -o bind -- "$1" "$2" || refuse bind "$1 cannot be held"
}

open_volume() { # given kind, options, a block device and a place: nobody but this namespace sees it mounted there
  mkdir -- "$4" || exit 125
  mount -t "$1" -o "$2" -- "$3" "$4" || refuse bind "the snapshot $3 cannot be mounted"
}

find_in_volume() { # given the place of a volume and a path in it: sets $value; the dot keeps newlines at the end
  value=$1${2%/}
  # whoever owned a part of the path may have made it a link before the snapshot was taken: it would lead out of it
  real=$(readlink -f -- "$value" && echo .) || refuse bind "$2 is not in its snapshot"
  [ "${real%??}" = "$value" ] || refuse bind "$2 is a link, or lies below one, in its snapshot"
}

cover() { # given what, the true path and its form in mountinfo; $root is before both
  place=$root${2%/} point=$root${3%/}
  mount -o bind -- "$1" "$place" || refuse bind "$2 cannot be covered"
  mount -o remount,bind,ro -- "$place" || refuse bind "$2 cannot be made read-only"
  is_read_only "$point" || refuse bind "$2 is not read-only"
}

furnish() { # a root of its own shows the devices, the processes and the run, as a left-out part has them
  for place in /proc /dev /run; do
    case $place in /run) case $dir in /run/*) ;; *) continue ;; esac ;; esac
    mount -o rbind -- "$place" "$root$place" || refuse bind "$place cannot be shown in a snapshot of /"
  done
}

inside() { # in the private mount namespace; stdin: what attach kept
  mount --make-rprivate / || refuse private "mounts cannot be made private"
  check_private || refuse private "mounts of this namespace are still shared with the device"
  value && niceness=$value && value && priority=$value || exit 125
  value && memory=$value && value && pausable=$value || exit 125
  value && volumes=$value && value && binds=$value && value && scratches=$value || exit 125
  hold=$dir/hold.$id
  mkdir "$hold" || exit 125
  number=0
  while [ "$number" -lt "$volumes" ]; do # each once, whatever number of binds is in it
    number=$((number + 1))
    value && kind=$value && value && options=$value || exit 125
    value && open_volume "$kind" "$options" "$value" "$hold/volume$number"
  done
  number=0
  # the lists are kept as numbered variables, since a path may hold anything
  while [ "$number" -lt "$binds" ]; do
    number=$((number + 1))
    value && volume=$value || exit 125
    value && { [ "$volume" = 0 ] || find_in_volume "$hold/volume$volume" "$value"; }
    hold "$value" "$hold/bind$number"
    value && eval "path$number=\$value"
    value && eval "point$number=\$value"
  done
  number=0
  while [ "$number" -lt "$scratches" ]; do
    number=$((number + 1))
    value && hold "$value" "$hold/scratch$number"
    eval "scratch$number=\$value"
  done
  root=''
  # nothing can be bound over / itself: the program gets the snapshot of / as its root
  [ "${path1-}" != / ] || { root=$hold/root && mkdir "$root"; } || exit 125
  number=0
  while [ "$number" -lt "$binds" ]; do # outer ones come first
    number=$((number + 1))
    eval "cover \"\$hold/bind$number\" \"\$path$number\" \"\$point$number\""
  done
  number=0
  while [ "$number" -lt "$scratches" ]; do
    number=$((number + 1))
    eval "value=\$scratch$number"
    mount -o bind -- "$hold/scratch$number" "$root$value" || refuse bind "$value cannot be kept writable"
  done
  value || exit 125
  eval "set -- $value"
  [ -z "$root" ] || { furnish && set -- chroot "$root" "$@"; }
  cd / || exit 125
  [ "$priority" = - ] || ! command -v ionice >/dev/null || set -- ionice -c2 -n"$priority" "$@"
  [ "$niceness" = - ] || set -- nice -n "$niceness" "$@"
  # a session is a group of its own for the scheduler, in which nice counts only between its own processes
  [ "$niceness" = - ] || { printf '%s\n' "$niceness" >/proc/self/autogroup; } 2>/dev/null
  scope='' note='' yields=''
  # what may be paused may wait for the processor too: an application does not wait for it
  [ "$niceness" = - ] || [ "$pausable" = - ] || yields=1
  [ "$memory$yields" = - ] || confine "$memory" "$niceness" "$yields"
  # shellcheck disable=SC2046  # words
  [ -z "$scope" ] || set -- $(scope_words "$scope" "$memory" "$niceness") "$@"
  [ "$pausable" = - ] || : >"$dir/pausable.$id" || exit 125
  printf 'started%s\n' "${note:+ $note}"
  exec "$@" </dev/null
}
