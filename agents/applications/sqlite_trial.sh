# shellcheck shell=sh disable=SC2015
# The steps of SQLite's trial, in the cage of a drill.

database=/drill/database
# -safe (3.38) forbids the shell's own commands that read, write and load; the cage takes what they could do
safe=-safe
sqlite3 -safe -version >/dev/null 2>&1 || safe=-bail

fail() { printf '%s\n' "$1" >&2; exit 1; }

ask() { sqlite3 "$safe" -bail -batch -init /dev/null "$@" </dev/null; }

find_only() { # a directory: prints the file in it that is no journal, when there is one
  for each in "$1"/*; do
    case $each in *-wal | *-shm | *-journal) continue ;; esac
    [ ! -f "$each" ] || found="${found:+several files, }$each"
  done
  printf '%s' "${found-}"
}

open_database() { # the file; its journals belong to it by its name
  command -v sqlite3 >/dev/null || {
    echo 'the program sqlite3 is not installed there'
    echo 'Install it on the machine of the drill (apt install sqlite3).'
    exit 69
  }
  [ -e "$1" ] || set -- "$(find_only "${1%/*}")" # the policy may call it by a link
  for end in '' -wal -journal; do
    [ -f "$1$end" ] && [ ! -L "$1$end" ] || continue
    mv -- "$1$end" "$database$end" && chmod 0600 "$database$end" || exit 1
  done
  [ -s "$database" ] || fail 'the database is missing or empty'
  [ "$(head -c 15 "$database")" = 'SQLite format 3' ] || fail 'it is no SQLite database'
  # what its journal holds is brought in by the first that reads
  said=$(ask "$database" 'select count(*) from sqlite_master') || exit 1
  echo "it opens; $said tables, indexes, views and triggers"
}

check_pages() {
  said=$(ask "$database" 'pragma integrity_check(20)' 2>&1) && [ "$said" = ok ] || fail "$said"
  echo ok
}

check_keys() {
  said=$(ask "$database" 'pragma foreign_key_check' 2>&1) && [ -z "$said" ] || fail "$(echo "$said" | head -n 20)"
  echo 'every foreign key leads to a row'
}

answer() { # a file with SQL: a line that begins with a dot would be a command of the shell
  ask -readonly "$database" "$(printf '\n'; cat "$1")"
}
