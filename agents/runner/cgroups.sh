# shellcheck shell=sh
# ---- cgroups of a long program --------------------------------------------------------------------------------
# memory.<id> and disk.<id> "kind place", processor.<id> "kind place weight": journalled before they are made.
# Kinds: v1, v2, scope (systemd makes it, and removes it when nothing lives in it any more).

find_group() { # given a controller, sets $kind and $place: where a cgroup of it can be made without systemd
  kind='' place='' unified=''
  while read -r _ point type options _; do
    case $type,$options, in
      cgroup,*,"$1",*) kind=v1 place=$point ;;
      cgroup2,*) unified=$point ;;
    esac
  done </proc/mounts
  if [ "$kind" = v1 ]; then # below our own: whoever confined us stays obeyed
    while IFS=: read -r _ controllers own; do
      case ,$controllers, in *,"$1",*) [ -d "$place${own%/}" ] && place=$place${own%/} ;; esac
    done </proc/self/cgroup
    return 0
  fi
  # only the root may hold both processes and groups; where its switch is off, it is not ours to turn on
  { read -r controllers <"$unified/cgroup.subtree_control"; } 2>/dev/null || return 1
  case " $controllers " in *" $1 "*) kind=v2 place=$unified ;; *) return 1 ;; esac
}

scope_words() { # given a unit, bytes or "-", and niceness. nice means nothing between cgroups: the weight says the same
  weigh "$3"
  # its own description would be the program's words, which may be long or no text (systemd-run refuses that)
  printf '%s ' systemd-run --quiet --collect --scope --description=Hotfleet --unit="$1"
  printf '%s ' -p CPUWeight=$(((weight + 99) / 100))
  [ "$2" = - ] || printf '%s ' -p MemoryHigh="$2" -p MemoryMax=$(($2 * 2))
}

confine() { # given bytes or "-", niceness, and 1 when it yields; in the program's own process. Sets $scope, $note
  scope='' note=''
  name=${dir##*/}-$id
  # shellcheck disable=SC2046  # words
  if [ -d /run/systemd/system ] && $(scope_words "$name-try" "$1" "$2") true >/dev/null 2>&1; then
    scope=$name
    [ "$1" = - ] || printf 'scope %s.scope\n' "$name" >"$dir/memory.$id" || exit 125
    weigh "$2"
    [ -z "$3" ] || printf 'scope %s.scope\n' "$name" >"$dir/disk.$id" || exit 125
    [ -z "$3" ] || printf 'scope %s.scope %s\n' "$name" "$weight" >"$dir/processor.$id" || exit 125
    return 0
  fi
  [ "$1" = - ] || confine_memory "$1"
  [ -z "$3" ] || { confine_reading; confine_processor "$2"; }
}

release_group() { # given a record of a program that ended. May be called twice; fails while something lives in it
  { read -r kind place _ <"$1"; } 2>/dev/null || return 0
  patience=20
  while [ "$kind" != scope ] && [ -d "$place" ] && ! rmdir "$place" 2>/dev/null; do
    [ "$patience" -gt 0 ] || return 1
    patience=$((patience - 1))
    nap
  done
  rm -f -- "$1"
}

release_groups() { # given the id of a program, or "*"
  kept=0
  # shellcheck disable=SC2231  # the star is meant
  for record in "$dir"/memory.$1 "$dir"/disk.$1 "$dir"/processor.$1; do
    [ -f "$record" ] || continue
    release_group "$record" || kept=1
  done
  return "$kept"
}
