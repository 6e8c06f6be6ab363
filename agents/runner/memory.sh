# shellcheck shell=sh
# ---- a memory limit of a long program -------------------------------------------------------------------------
# What the program reads is kept on its own account: the files of the applications stay in memory.
# memory.<id> "kind place": the cgroup, journalled before it is made. Kinds: v1, v2, scope (systemd makes it).

find_memory() { # sets $kind and $place: where a memory cgroup can be made without systemd
  kind='' place='' unified=''
  while read -r _ point type options _; do
    case $type,$options, in
      cgroup,*,memory,*) kind=v1 place=$point ;;
      cgroup2,*) unified=$point ;;
    esac
  done </proc/mounts
  if [ "$kind" = v1 ]; then # below our own: whoever confined us stays obeyed
    while IFS=: read -r _ controllers own; do
      case ,$controllers, in *,memory,*) [ -d "$place${own%/}" ] && place=$place${own%/} ;; esac
    done </proc/self/cgroup
    return 0
  fi
  # only the root may hold both processes and groups; where its switch is off, it is not ours to turn on
  { read -r controllers <"$unified/cgroup.subtree_control"; } 2>/dev/null || return 1
  case " $controllers " in *' memory '*) kind=v2 place=$unified ;; *) return 1 ;; esac
}

set_memory() { # given kind, place and bytes. Above "high" reading is slowed; only far above it a program is killed
  case $1 in
    v1) printf '%s\n' "$3" >"$2/memory.limit_in_bytes" ;;
    v2) printf '%s\n' "$3" >"$2/memory.high" && printf '%s\n' $(($3 * 2)) >"$2/memory.max" ;;
    scope) systemctl set-property --runtime "$2" MemoryHigh="$3" MemoryMax=$(($3 * 2)) ;;
  esac 2>/dev/null
}

scope_words() { # given a unit, bytes and niceness. nice means nothing between cgroups: the weight says the same
  weight=10000 step=$3 # a step of nice is a fifth less; 100 is everybody else's
  while [ "$step" != - ] && [ "$step" -gt 0 ]; do
    weight=$((weight * 4 / 5)) step=$((step - 1))
  done
  # its own description would be the program's words, which may be long or no text (systemd-run refuses that)
  printf '%s ' systemd-run --quiet --collect --scope --description=Hotfleet --unit="$1" -p CPUWeight=$(((weight + 99) / 100))
  printf '%s ' -p MemoryHigh="$2" -p MemoryMax=$(($2 * 2))
}

confine() { # given bytes, in the program's own process: sets $scope when systemd has to do it, $note when nobody can
  scope='' note=''
  name=${dir##*/}-$id
  # shellcheck disable=SC2046  # words
  if [ -d /run/systemd/system ] && $(scope_words "$name-try" "$1" "$niceness") true >/dev/null 2>&1; then
    scope=$name
    printf 'scope %s.scope\n' "$name" >"$dir/memory.$id" || exit 125
    return 0
  fi
  note='This device takes no memory limit for the backup: it may push files of the applications out of memory.'
  find_memory || return 0
  place=$place/$name
  printf '%s %s\n' "$kind" "$place" >"$dir/memory.$id" || exit 125
  { mkdir "$place" && set_memory "$kind" "$place" "$1" && printf '0\n' >"$place/cgroup.procs"; } 2>/dev/null \
    && note='' && return 0
  release_memory "$id"
  return 0
}

release_memory() { # given the id of a program that ended. May be called twice; fails while something lives in it
  { read -r kind place <"$dir/memory.$1"; } 2>/dev/null || return 0
  patience=20
  while [ "$kind" != scope ] && [ -d "$place" ] && ! rmdir "$place" 2>/dev/null; do
    [ "$patience" -gt 0 ] || return 1
    patience=$((patience - 1))
    nap
  done
  rm -f -- "$dir/memory.$1"
}

release_memories() {
  kept=0
  for record in "$dir"/memory.*; do
    [ -f "$record" ] || continue
    release_memory "${record##*.}" || kept=1
  done
  return "$kept"
}

grow_memory() { # given the id of a program: raises the limit when its own data, not files, come near it
  { read -r kind place <"$dir/memory.$1"; } 2>/dev/null || return 1
  look_memory "$kind" "$place" "$1" || return 1
  [ "$own" -gt $((limit * 3 / 4)) ] || return 1
  grown=$((limit * 3 / 2))
  set_memory "$kind" "$place" "$grown"
}

look_memory() { # given kind, place and id: sets $own and $limit in bytes
  own='' limit=''
  case $1 in
    v1) where=$2 key=rss file=memory.limit_in_bytes ;;
    v2) where=$2 key=anon file=memory.high ;;
    scope) find_scope "$3" || return 1 ;;
  esac
  while read -r word count; do [ "$word" = "$key" ] && { own=$count; break; }; done <"$where/memory.stat"
  { read -r limit <"$where/$file"; } && [ -n "$own" ] && [ "$limit" != max ]
} 2>/dev/null

find_scope() { # given the id of a program: sets $where $key $file by where systemd put it
  read_record "$dir/groups/$1" || return 1
  where='' base=/sys/fs/cgroup
  while IFS=: read -r _ controllers path; do
    case ,$controllers, in
      *,memory,*) where=$base/memory$path key=rss file=memory.limit_in_bytes; break ;;
      ,,) where=$base$path key=anon file=memory.high ;;
    esac
  done <"/proc/$pid/cgroup"
  [ -d "$where" ]
}
