# shellcheck shell=sh disable=SC2015,SC2154  # a part of the program in walking.sh
# ---- looking and making ---------------------------------------------------------------------------------------

# Given a folder: prints where staging may be ("": nowhere), its mount and device, how far the folder exists,
# what is free there in KiB, whether each parent is root's alone, and the highest folder on that ground.
look() {
  cd / && here=/ || exit 4
  rest=${1#/} ground='' base='' safe=yes
  while :; do
    identify || exit 4
    is_safe || safe=no
    if [ "$mount:$device" != "$ground" ]; then
      ground=$mount:$device base='' top=$here
      [ "$safe" = no ] || base=$here # the highest one: where a sweep finds it
    fi
    [ -n "$rest" ] || break
    part=${rest%%/*}
    [ ! -L "./$part" ] || refuse link "${here%/}/$part"
    [ -e "./$part" ] || break
    case $rest in */*) rest=${rest#*/} ;; *) rest='' ;; esac
    [ -d "./$part" ] || refuse file "${here%/}/$part"
    enter "$part" || refuse moved "${here%/}/$part"
  done
  ! is_read_only || refuse read-only "$here"
  free=$(df -Pk . | { read -r _; read -r _ _ _ free _; printf '%s' "$free"; })
  printf 'ground\0%s\0%s\0%s\0%s\0%s\0%s\0' "$base" "$ground" "$here" "$free" "$safe" "$top"
}

is_read_only() { # root may write everywhere by the mode of a folder: the mount says it
  while read -r id _ _ _ _ options others; do
    [ "$id" = "$mount" ] || continue
    case ,$options,${others##* }, in *,ro,*) return 0 ;; esac
  done </proc/self/mountinfo
  return 1
}

make() { # given staging and a folder that exists on the same ground
  walk "${S%/*}" safe && is_same || refuse moved "${S%/*}"
  mkdir -m 0700 -- "./${S##*/}" && cd -P "./${S##*/}" || exit 1
  mkdir new old owed renamed undone || exit 1
  walk "$1" '' && is_same || refuse moved "$1"
  probe || refuse apart "$1"
}

# Project quotas and layered file systems refuse a rename on the same mount, and mv would copy then. A link to the
# working directory tells, and never copies.
probe() {
  touch -r . "$S/stamp" && : >"$S/${S##*/}.link" && printf '%s.' "$here" >"$S/linked" || return 1
  if ln -- "$S/${S##*/}.link" .; then unlink_probe; return 0; fi
  rm -f -- "$S/linked"
  return 1
}

unlink_probe() { # the folder's time is as it was
  rm -f -- "./${S##*/}.link"
  touch -r "$S/stamp" .
  rm -f -- "$S/${S##*/}.link" "$S/linked"
}

reach() { # given the folder of the places on stdin: refuses where nothing of staging can be renamed into one
  while value; do
    find_place "$1"
    parent=${place%/*}
    is_there "${parent:-/}" || continue # it will be made
    ( to_parent '' ) || refuse_place $?
  done
}

to_parent() { # given a word of walk: goes where the name of $place is
  walk "${place%/*}" "$1" && is_same || return 1
  probe || return 5
}

refuse_place() { # given a status
  [ "$1" != 5 ] || refuse apart "${place%/*}"
  refuse moved "$place"
}

claim() { # given a path: no other run may restore into it, above it or below it. Its own is written before
  for other in /run/hotfleet/hotfleet-*-*/target /dev/shm/hotfleet/hotfleet-*-*/target; do
    case $other in "$2"/*) continue ;; esac
    { value <"$other"; } 2>/dev/null || continue
    case ${1%/}/ in "${value%/}"/*) refuse claimed "$value" ;; esac
    case ${value%/}/ in "${1%/}"/*) refuse claimed "$value" ;; esac
  done
}

lack() { # names of what restic was asked for on stdin: refuses when one is not there
  while value; do
    ( cd "$S/new" && here=$S/new && [ "$PWD" = "$here" ] || exit 1
      rest=$value
      while case $rest in */*) true ;; *) false ;; esac; do
        enter "${rest%%/*}" || exit 1
        rest=${rest#*/}
      done
      is_there "./$rest" ) || refuse lacking "$value"
  done
}

strip() { # devices go, setuid and setgid of what is no folder too; prints one dot for each
  # shellcheck disable=SC2016  # expanded by the inner shell
  find "$S/new" ! -type d ! -type l \( -perm -4000 -o -perm -2000 -o -type b -o -type c \) -exec sh -c '
    S=$1
    shift
    for each; do
      printf .
      if [ -b "$each" ] || [ -c "$each" ]; then
        touch -r "${each%/*}" "$S/stamp" && rm -f -- "$each" && touch -r "$S/stamp" "${each%/*}" || exit 1
      else
        chmod ug-s "$each" || exit 1
      fi
    done' sh "$S" {} +
}

settle_down() { # what restic wrote is on the disk before anything of the device goes
  sync -f "$S/new" 2>/dev/null || sync
}
