# shellcheck shell=sh
# shellcheck disable=SC2154 # $hold is set by who joins this with a keeper, removing.sh and a script of swapping.py
# The swap of an instance's data, and the way back. Everything is told by what lies in the stagings, which survive us:
#   leaving/<name>  this entry of the folder goes           old/<name>   it went
#   new/<name>      this comes                              in/<name>    it is coming, or came
#   whole           the folder is a mount point: all of its entries go, and those of new/<its name> come
#   good/           only for who comes after a power cut: what lies in old/ is not needed any more
#   fresh           the seat is a place of its own: what does not work does not stay
# What was decided lies in $hold, which no removal of a staging takes with it, and into which nobody else writes. It is
# on a disk too: after a power cut the way back is the same (whoever renames or removes for good is preceded by flush).
#   undo            all of the way back, for who comes after a power cut; boot: the life of the device that wrote it
#   moved           from here on the stagings must be there
#   keep            what was there is not removed; its line is the ending of its name
#   swapped         all that was there went, and all that comes came
#   good            the application answered: nothing goes back any more
#   ended           nothing is to be put back any more, but the stagings may still be there, or half of them
# Whoever owns the folder may rename what lies in it, so nothing of ours is reached by a path from outside: a shell goes
# into the staging, sees that it is there and root's, and works from it. Nobody else can move it to another folder.

flush() { # given paths: what was done in the folders of these is on the disk
  for flushed in "$@"; do (cd -- "${flushed%/*}" && sync -f .) 2>/dev/null || sync || return 1; done
}

each_name() { # given a folder, prints the names in it, a line each
  for each in "$1"/* "$1"/.[!.]* "$1"/..?*; do ! is_there "$each" || printf '%s\n' "${each##*/}"; done
}

coming_from() { # sets $from: where the entries are that come
  from=new
  [ ! -e whole ] || from=new/${1##*/}
}

swap_out() { # given a staging and its folder: what is there goes
  enter "$1" || return 1
  mkdir -p old in away leaving || return 1
  [ ! -e whole ] || each_name .. >whole.names
  [ ! -e whole ] || while IFS= read -r name; do
    [ "$name" = "${1##*/}" ] || [ "$name" = lost+found ] || : >"leaving/$name" || return 1
  done <whole.names
  each_name leaving >leaving.names
  while IFS= read -r name; do
    ! is_there "../$name" || mv -T -- "../$name" "old/$name" || return 1
  done <leaving.names
}

swap_in() { # given a staging and its folder
  enter "$1" || return 1
  coming_from "$2"
  [ ! -e whole ] || rm -rf -- "$from/lost+found"
  each_name "$from" >coming.names
  while IFS= read -r name; do
    : >"in/$name" || return 1
    ! is_there "../$name" || { echo "somebody made $2/$name meanwhile" >&2; return 1; }
    like_before "$name"
    mv -T -- "$from/$name" "../$name" || return 1
    # a label is by path, so it is given where the path is right
    [ ! -e /sys/fs/selinux/enforce ] || ! command -v restorecon >/dev/null || (cd .. && restorecon -R -- "$name") || return 1
  done <coming.names
}

like_before() { # given a name: a directory in the place of another has its owner and mode
  [ -d "old/$1" ] && [ ! -L "old/$1" ] && [ -d "$from/$1" ] && [ ! -L "$from/$1" ] || return 0
  [ -z "$(ls -A "old/$1")" ] && [ "$(stat -c %u "old/$1")" = 0 ] && return 0 # somebody made it as root, by hand
  chown -- "$(stat -c %u:%g "old/$1")" "$from/$1" && chmod -- "$(stat -c %a "old/$1")" "$from/$1"
}

had_data() { # given stagings: was there anything but empty folders
  for staging in "$@"; do
    for each in "$staging"/old/* "$staging"/old/.[!.]*; do
      is_there "$each" || continue
      [ -d "$each" ] && [ ! -L "$each" ] && [ -z "$(ls -A "$each")" ] || return 0
    done
  done
  return 1
}

swap_back() { # given a staging and its folder: what came goes, what was there comes back; as often as it takes
  [ -d "$1/in" ] || return 0
  enter "$1" || return 1
  [ ! -d good ] || rmdir good || return 1
  coming_from "$2"
  each_name in >back.names
  while IFS= read -r name; do
    if ! is_there "$from/$name" && is_there "../$name"; then
      mv -T -- "../$name" "away/$name.$$" || return 1
    fi
    rm -f -- "in/$name" || return 1
  done <back.names
  each_name old >back.names
  while IFS= read -r name; do
    # a service that was started meanwhile may have made one of its own
    ! is_there "../$name" || mv -T -- "../$name" "away/$name.$$" || return 1
    mv -T -- "old/$name" "../$name" || return 1
  done <back.names
}

# ---- whole acts, given every staging -----------------------------------------------------------------------------

# Given a staging: prints who has a file of the seat open for writing, or works in it as its owner. Who only reads, or
# somebody who looks around there, keeps no server from being replaced.
in_use() {
  enter "$1" || return 1
  coming_from "${1%/*}"
  each_name leaving >leaving.names
  ls -ln /proc/[0-9]*/fd /proc/[0-9]*/cwd >open.files 2>/dev/null
  [ ! -e whole ] || echo . >leaving.names
  while IFS= read -r name; do
    seat=${1%/*}/$name
    seat=${seat%/.}
    owner=$(stat -c %u "$from/$name" 2>/dev/null) || owner=0
    seat=$seat staging=$1 owner=$owner awk '
      /^\/proc\/[0-9]+\/fd:$/ { process = $0; sub(/\/fd:$/, "", process); next }
      { at = index($0, " -> "); path = substr($0, at + 4); sub(/ \(deleted\)$/, "", path) }
      !at || (path != ENVIRON["seat"] && index(path, ENVIRON["seat"] "/") != 1) { next }
      index(path, ENVIRON["staging"] "/") == 1 { next } # our own
      $9 ~ /^\/proc\/[0-9]+\/cwd$/ {
        if (ENVIRON["owner"] != 0 && $3 == ENVIRON["owner"]) { print $9 " works in " path; exit }
        next
      }
      $1 ~ /^l.w/ { print process " has " path " open"; exit }' open.files
  done <leaving.names
  rm -f open.files
}

halt() { # a stop that was cut off is completed before anything is started: what still dies would look alive
  : >"$hold/halting" && keeper_stop && rm -f -- "$hold/halting"
}

swap_all() {
  for staging in "$@"; do swap_out "$staging" "${staging%/*}" || return 1; done
  for staging in "$@"; do swap_in "$staging" "${staging%/*}" || return 1; done
  cd / && : >"$hold/swapped"
}

stays() { [ -e "$hold/swapped" ] && [ ! -e "$1/fresh" ] && ! had_data "$@"; }

back_all() { # nothing goes back where nothing was: what came stays then, and may be looked at
  [ ! -e "$hold/good" ] && [ ! -e "$hold/ended" ] || return 0
  for staging in "$@"; do
    [ ! -e "$hold/moved" ] || [ -d "$staging" ] || { echo "$staging is gone" >&2; return 1; }
  done
  if stays "$@"; then
    echo 'note Nothing was there before: the restored data stays in its place.'
    return 0
  fi
  back_status=0
  # no shell of their own: who kills this one must not leave another that still moves things
  for staging in "$@"; do swap_back "$staging" "${staging%/*}" || back_status=1; done
  cd / || return 1
  [ "$back_status" = 1 ] || rm -f -- "$hold/swapped"
  return "$back_status"
}

keep_as() { # given a thing and its new name beside the staging; told before: who dies between is told twice
  printf 'kept %s\n' "${staging%/*}/$2" >>"$hold/kept.names" && mv -T -- "$1" "../$2"
}

keep_all() { # $ending: of the names that what was there gets
  for staging in "$@"; do
    (
      enter "$staging" || exit 1
      # a folder that is a mount point has no room beside it; who was here before us may have died
      if [ -e whole ]; then
        [ -z "$(ls -A old 2>/dev/null)" ] || keep_as old "$ending" || exit 1
        exit 0
      fi
      each_name old >old.names
      while IFS= read -r name; do keep_as "old/$name" "$name.$ending" || exit 1; done <old.names
    ) || return 1
  done
  flush "$@"
}

remove_all() { # never what was there while nothing took its place
  for staging in "$@"; do
    if [ ! -e "$hold/good" ] && [ ! -e "$hold/ended" ] && [ ! -e "$hold/swapped" ] && [ -n "$(ls -A "$staging/old" 2>/dev/null)" ]; then
      echo "what was there lies in $staging/old" >&2
      return 1
    fi
  done
  if [ -e "$hold/keep" ] && [ -e "$hold/good" ]; then
    # once: half of the stagings may be gone the next time
    [ -e "$hold/kept" ] || { IFS= read -r ending <"$hold/keep" && keep_all "$@" && : >"$hold/kept"; } || return 1
    [ ! -e "$hold/kept.names" ] || cat "$hold/kept.names"
  fi
  # half of what was there must never be taken for all of it: from here on nothing goes back
  [ ! -e "$1/fresh" ] || [ -e "$hold/good" ] || : >"$hold/made" || return 1
  [ -e "$hold/ended" ] || [ ! -e "$hold/moved" ] || flush "$@" || return 1
  : >"$hold/ended" || return 1
  for staging in "$@"; do
    (cd -- "${staging%/*}" 2>/dev/null && remove "${staging##*/}") || :
    [ ! -e "$staging" ] || { echo "$staging cannot be removed" >&2; return 1; }
  done
  # a folder that was made for it
  [ ! -e "$hold/made" ] || rmdir -- "${1%/*}" 2>/dev/null || :
  # whatever is still tried from here on is what ran before: what never started on its new data is told once
  rm -f -- "$hold/swapped" "$hold/good"
}

undo_all() { # what the device runs when everything else is dead; and we, to go back or to end
  undo_status=0 went=''
  mkdir -p -- "$hold"
  if is_other_life; then
    rm -f -- "$hold"/start.* "$hold"/started.* # who starts a service: processes of that life
    if may_stay "$@"; then take_it "$@" || return 1; fi
  fi
  if [ -e "$hold/halting" ] || must_go_back "$@"; then
    halt || return 1
    went=back
  fi
  back_all "$@" || return 1
  if [ "$went" = back ] && is_other_life; then
    echo 'note The device went down in the middle of a comeback: what was there before is in its place.'
  fi
  if [ -e "$hold/names" ]; then
    begins=$hold/ran
    if [ -e "$hold/good" ] || [ -e "$hold/swapped" ]; then begins=$hold/names; fi
    keeper_start "$begins" || undo_status=1
  fi
  remove_all "$@" || undo_status=1
  return "$undo_status"
}

must_go_back() {
  [ ! -e "$hold/good" ] && [ ! -e "$hold/ended" ] && [ -e "$hold/names" ] || return 1
  ! stays "$@" || return 1
  for staging in "$@"; do
    for each in "$staging"/in/* "$staging"/old/* "$staging"/in/.[!.]* "$staging"/old/.[!.]*; do
      ! is_there "$each" || return 0
    done
  done
  return 1
}

forget() { # nothing is owed any more. First what would ask for a staging: who dies here is followed by another
  rm -f -- "$hold/moved" "$hold/names" && rm -rf -- "$hold" && { rmdir -- "${hold%/*}" 2>/dev/null || :; }
}

# ---- after a power cut -------------------------------------------------------------------------------------------

is_other_life() { # did the device go down since this began
  { read -r began_in <"$hold/boot" && read -r life </proc/sys/kernel/random/boot_id; } 2>/dev/null || return 1
  [ "$began_in" != "$life" ]
}

# All of it came, and what the device started on it runs: what was written there since is not thrown away. It was never
# asked anything, so what was there before is kept.
may_stay() {
  [ -e "$hold/names" ] && [ ! -e "$hold/good" ] && [ ! -e "$hold/ended" ] && [ ! -e "$1/fresh" ] || return 1
  for staging in "$@"; do (has_come "$staging" "${staging%/*}") || return 1; done
  keeper_runs
}

has_come() { # given a staging and its folder: everything is in its place, and nobody began to put anything back
  enter "$1" 2>/dev/null || return 1
  coming_from "$2"
  [ -n "$(each_name in)" ] && [ -z "$(each_name "$from")" ] && [ -z "$(each_name away)" ] || return 1
  each_name in >come.names
  while IFS= read -r name; do is_there "../$name" || return 1; done <come.names
}

take_it() {
  [ -e "$hold/keep" ] || printf 'before-%s\n' "${hold##*/}" >"$hold/keep" || return 1
  flush "$@" && : >"$hold/good" || return 1
  echo 'note The device went down after a comeback had put everything in place, and it runs on that: it stays.'
}
