# shellcheck shell=sh
# ---- a memory limit of a long program -------------------------------------------------------------------------
# What the program reads is kept on its own account: the files of the applications stay in memory.

set_memory() { # given kind, place and bytes. Above "high" reading is slowed; only far above it a program is killed
  case $1 in
    v1) printf '%s\n' "$3" >"$2/memory.limit_in_bytes" ;;
    v2) printf '%s\n' "$3" >"$2/memory.high" && printf '%s\n' $(($3 * 2)) >"$2/memory.max" ;;
    scope) systemctl set-property --runtime "$2" MemoryHigh="$3" MemoryMax=$(($3 * 2)) ;;
  esac 2>/dev/null
}

confine_memory() { # given bytes: sets $note when nobody can
  note='This device takes no memory limit for the backup: it may push files of the applications out of memory.'
  find_group memory || return 0
  place=$place/$name
  printf '%s %s\n' "$kind" "$place" >"$dir/memory.$id" || exit 125
  { mkdir "$place" && set_memory "$kind" "$place" "$1" && printf '0\n' >"$place/cgroup.procs"; } 2>/dev/null \
    && note='' && return 0
  release_group "$dir/memory.$id"
  return 0
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
