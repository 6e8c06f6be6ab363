# shellcheck shell=sh disable=SC2015,SC2154  # a part of the program in walking.sh
# ---- merging --------------------------------------------------------------------------------------------------

merge() { # given a folder of staging, whose content goes into the working directory
  export here depth
  find "$1" -mindepth 1 -maxdepth 1 -exec sh "$program" fresh "$S" {} +
  rmdir -- "$1" 2>/dev/null && return 0
  [ "$conflict" != replace ] || find "$1" -mindepth 1 -maxdepth 1 ! -type d -exec sh "$program" over "$S" {} +
  find "$1" -mindepth 1 -maxdepth 1 -exec sh "$program" meet "$S" {} +
}

merge_all() { # given the folder to merge into; prints the counts
  walk "$1" make && is_same || refuse moved "$1"
  depth=0
  export S ground conflict stamp program
  # of the errors the first ones are kept, and all are read: nobody dies of a closed pipe
  { merge "$S/new" 2>&1 >&3 | { head -c 4000; cat >/dev/null; } >&2; } 3>&1 | {
    replaced=0 kept=0 renamed=0 skipped=0 failed=0
    while read -r a b c d e; do
      replaced=$((replaced + a)) kept=$((kept + b)) renamed=$((renamed + c))
      skipped=$((skipped + d)) failed=$((failed + e))
    done
    # what nobody gave account of (no process could be started) did not come either
    left=$(find "$S/new" ! -type d -print0 2>/dev/null | tr -dc '\0' | wc -c)
    [ "$left" -le $((skipped + failed)) ] || failed=$((left - skipped))
    printf 'merged\0%s\0%s\0%s\0%s\0%s\0' "$replaced" "$kept" "$renamed" "$skipped" "$failed"
  }
}

fresh() { # things of staging: those come that nothing is in the way of
  for staged; do
    # busybox asks where a link leads to, and would replace one that leads nowhere
    [ ! -L "./${staged##*/}" ] || { one_by_one "$@"; return 0; }
  done
  mv -n -- "$@" .
}

one_by_one() {
  for staged; do is_there "./${staged##*/}" || mv -n -- "$staged" .; done
}

over() { # files of staging, each over the one of its name; a folder is in nobody's way here
  mv -f -- "$@" .
  replaced=$#
  for staged; do is_there "$staged" && replaced=$((replaced - 1)); done
  printf '%s 0 0 0 0\n' "$replaced"
}

meet() { # what is in the way of these things of staging
  replaced=0 kept=0 renamed=0 skipped=0 failed=0
  for staged; do
    name=${staged##*/}
    is_there "$staged" || continue
    if is_folder "$staged" && is_folder "./$name"; then
      ( deeper "$staged" "$name" ) || lose "$staged"
    elif ! is_there "./$name"; then
      mv -n -- "$staged" .
      ! is_there "$staged" || lose "$staged"
    else
      resolve
    fi
  done
  printf '%s %s %s %s %s\n' "$replaced" "$kept" "$renamed" "$skipped" "$failed"
}

deeper() {
  depth=$((depth + 1))
  [ "$depth" -le 200 ] && enter "$2" || return 1
  is_same && probe && { merge "$1"; return 0; }
  rmdir -- "$1" # a mount point, or kept apart by a quota: fine when nothing is to go in
}

resolve() {
  case $conflict in
    skip)
      kept=$((kept + 1))
      skipped=$((skipped + $(count_in "$staged")))
      ;;
    replace)
      if swap "$staged"; then
        replaced=$((replaced + 1))
        rm -f -- "$record/here" && rm -rf -- "$record"
      else
        lose "$staged"
      fi
      ;;
    keep-both)
      if beside "$staged"; then renamed=$((renamed + 1)) kept=$((kept + 1)); else lose "$staged"; fi
      ;;
  esac
}

lose() {
  failed=$((failed + $(count_in "$1")))
  printf '%s could not be put into place.\n' "${here%/}/${1##*/}" >&2
}

count_in() { # what is no folder in it; at least one
  counted=1
  ! is_folder "$1" || counted=$(find "$1" ! -type d -print0 | tr -dc '\0' | wc -c)
  [ "$counted" -gt 0 ] || counted=1
  echo "$counted"
}

beside() { # given a thing of staging: it comes here with another name
  name=${1##*/} ending=''
  if ! is_folder "$1"; then
    case ${name#?} in *.*) ending=.${name##*.} ;; esac
    [ "${#ending}" -le 20 ] || ending=''
  fi
  base=${name%"$ending"}
  turn=1
  while [ "$turn" -le 1000 ]; do
    mark=" ($stamp)"
    [ "$turn" = 1 ] || mark="$mark $turn"
    shorten $((255 - ${#mark} - ${#ending}))
    wanted=$stem$mark$ending
    turn=$((turn + 1))
    is_there "./$wanted" && continue
    # renamed in staging first: here the last word is always the folder itself
    drawer=$S/renamed/$$
    is_there "$drawer" || mkdir -- "$drawer" || return 1
    mv -- "$1" "$drawer/$wanted" || return 1
    mv -n -- "$drawer/$wanted" .
    is_there "$drawer/$wanted" || return 0
    mv -- "$drawer/$wanted" "$1" || return 1
  done
  return 1
}

shorten() { # given a number of bytes: sets $stem; a letter of several bytes goes as a whole
  stem=$base
  [ "${#stem}" -gt "$1" ] || return 0
  while [ "${#stem}" -gt "$1" ]; do stem=${stem%?}; done
  turns=0
  while [ "$turns" -lt 3 ]; do
    case $stem in *[$tails]) stem=${stem%?} ;; *) break ;; esac
    turns=$((turns + 1))
  done
  case $stem in *[$heads]) stem=${stem%?} ;; esac
}
