"""What is asked about SQLite's files: those that a policy names, or those that processes hold open."""

from __future__ import annotations

from collections.abc import Collection

from agents.applications.processes import FUNCTIONS
from agents.commands import Command

# Files of which the page would show no more anyway; what a policy names is always asked.
_MOST_FOUND = 50

# Nothing but the first bytes is read, of regular files only.
_SCRIPT = (
    FUNCTIONS
    + r"""
most=$1
shift
show_program() {
  found=$(command -v "$1") || return 0
  say program "$1" "$found" "$(bounded 3 "$@" 2>&1 </dev/null | head -c 100)" '' '' ''
}
is_sqlite() { [ "$(bounded 2 head -c 15 -- "$1" 2>/dev/null)" = 'SQLite format 3' ]; }
show_file() { # the name that was asked for, or none
  real=$(readlink -f -- "$1") && [ -f "$real" ] || { say missing "$1" '' '' '' '' ''; return; }
  is_sqlite "$real" || { say other "$1" "$real" '' '' '' ''; return; }
  journal=$(bounded 2 head -c 19 -- "$real" | tail -c 1 | od -An -tu1 | tr -d ' \n')
  size=$(stat -c %s -- "$real")
  [ ! -f "$real-wal" ] || size=$((size + $(stat -c %s -- "$real-wal")))
  say file "$1" "$real" "$(stat -c '%u' -- "$real")" "$(stat -c '%g' -- "$real")" "$size" "$journal"
}
find_open() { # prints the files that look like databases, each once: by the name, and by what is beside them
  for process in /proc/[0-9]*; do
    ls -l "$process/fd" 2>/dev/null | awk -v "process=$process" '
      match($0, / [0-9]+ -> \//) {
        target = substr($0, RSTART + RLENGTH - 1)
        if (sub(/-(wal|journal)$/, "", target) || target ~ /\.(db|db3|sqlite|sqlite3|s3db)$/)
          print process "\t" target
      }'
  done | sort -u -t "$tab" -k 2 | head -n "$((most * 4))" | while IFS="$tab" read -r process path; do
    ! is_late || break
    # a container may show another file under this path
    if process_is_ours "${process#/proc/}" && [ -f "$path" ]; then printf '%s\n' "$path"; fi
  done | head -n "$most"
}
show_program python3 -c 'import sqlite3; print(sqlite3.sqlite_version)'
show_program sqlite3 --version
show_program setpriv --version
if [ $# -gt 0 ]; then
  for path in "$@"; do show_file "$path"; done
else
  find_open | while IFS= read -r path; do
    if is_sqlite "$path"; then show_file "$path"; fi
  done
fi 2>/dev/null
exit 0
"""
)


def look_command(names: Collection[str]) -> Command:
    """Given the paths that a policy names, return the command that looks at them; without one, the command
    that looks for files that are open. It prints seven NUL-ended fields for each thing that it found."""
    return Command.of("/bin/sh", "-c", _SCRIPT, "hotfleet", str(_MOST_FOUND), *names)
