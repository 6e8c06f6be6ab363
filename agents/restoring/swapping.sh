# shellcheck shell=sh disable=SC2154  # a part of the program in walking.sh
# ---- swapping -------------------------------------------------------------------------------------------------

swap() { # given a thing of staging: what has its name here goes to staging, it comes here
  name=${1##*/}
  until number=$$.$count && mkdir -- "$S/old/$number" 2>/dev/null; do
    [ -d "$S/old/$number" ] || return 1 # the disk is full
    count=$((count + 1))
  done
  record=$S/owed/$number
  draft=$S/renamed/draft.$number
  mkdir -- "$draft" && printf '%s.' "$here" >"$draft/here" && printf '%s.' "$1" >"$draft/staged" || return 1
  if is_there "./$name"; then
    has_mounts "${here%/}/$name" && return 1
    is_folder "./$name" && is_layered && return 1
    : >"$draft/had" || return 1
  fi
  sync "$draft"/* "$draft" 2>/dev/null || sync
  mv -- "$draft" "$record" || return 1
  if [ -e "$record/had" ]; then mv -- "./$name" "$S/old/$number/" || return 1; fi
  mv -n -- "$1" .
  ! is_there "$1"
}

put_back() { # given a record
  place=$(cat "$1/here") && staged=$(cat "$1/staged") || return 1
  name=${staged%.} && name=${name##*/}
  number=${1##*/}
  walk "${place%.}" '' || return 1
  old=$S/old/$number/$name
  if is_there "$old"; then
    take_away || return 1
    mv -n -- "$old" .
    ! is_there "$old"
  elif [ ! -e "$1/had" ] && ! is_there "${staged%.}"; then
    take_away
  fi
}

take_away() { # what came in already
  is_there "./$name" || return 0
  mkdir -p "$S/undone/$number" && mv -- "./$name" "$S/undone/$number/"
}

find_place() { # given the folder of the places, one of them in $value: sets $item in it, and $place, its path
  part=${value%%/*} item=''
  rest=$value
  while [ "$rest" != "$part" ] && is_there "$1/$item$part"; do
    item=$item$part/ rest=${rest#*/} part=${rest%%/*}
  done
  item=$item$part # the first that is not there yet comes as a whole
  place=${1%/}/$item
}

exact() { # given the folder of the places on stdin: each becomes what staging holds, or all are as they were
  while value; do
    find_place "$1"
    is_there "$S/new/$item" || continue
    count=$((count + 1))
    ( to_parent make || exit
      swap "$S/new/$item" || exit 1
      [ ! -e "$record/had" ] || printf . ) || refuse_place $?
  done
  mv -- "$S/owed" "$S/kept" # from here on it is the new state, whoever dies
}

clear() { # given the folder of the places on stdin: what is there is removed. Nothing brings it back
  while value; do
    place=${1%/}/$value
    is_there "$place" || continue
    ( to_parent safe || exit
      remove "${place##*/}" ) || refuse_place $?
  done
}

back() { # the undo step: nothing is half, and staging is gone. May run twice
  case $S in /*/.hotfleet-*-*.restore | /.hotfleet-*-*.restore) ;; *) exit 1 ;; esac
  is_folder "$S" && [ -O "$S" ] || exit 0
  if [ -f "$S/linked" ]; then
    place=$(cat "$S/linked")
    ( [ -e "$S/stamp" ] && walk "${place%.}" '' && unlink_probe )
  fi
  failed=0
  for record in "$S"/owed/*; do
    [ -f "$record/here" ] || continue
    # once: what is made there afterwards is not ours, however often the removal is tried
    ( put_back "$record" && rm -f -- "$record/here" ) || failed=1
  done
  [ "$failed" = 0 ] && cd "${S%/*}/" && ! has_mounts "$S" || return 1
  remove "${S##*/}" && return 0
  chattr -R -ia "$S" # it goes, whatever protected it where it was
  remove "${S##*/}"
}
