"""One session of a MariaDB or MySQL server that is held open around a snapshot, and let go whatever happens.

Who holds what, so that a lock never outlives its run:
1. only the shell of the moment has the writing end of the pipe to the client: when the shell dies, the client
   reads the end, and the server ends the session and its locks;
2. the client's process id and start time stand in $hold before a lock is asked for: the device's reaper kills
   it at the policy's limit, which the server treats alike;
3. wait_timeout of the session: the server itself ends it when nothing is asked for so long.
"""

from __future__ import annotations

from collections.abc import Sequence

from agents.applications.mysql_look import CLIENT_WORDS
from agents.applications.processes import BOUNDED
from agents.applications.recipes import NOT_HELD, Patience, Quiesce
from agents.commands import Command, join, quote

# The client opens `told` for both ways: it never waits for a reader, and what it said stays there.
_FUNCTIONS = r"""
client_alive() { # the client of this $hold: by process id and start time, since numbers come again
  client=0 client_started=0
  { read -r client client_started <"$hold/client"; } 2>/dev/null || return 1
  { read -r client_stat <"/proc/$client/stat"; } 2>/dev/null || return 1
  # shellcheck disable=SC2086  # the fields of the line are the words that are wanted
  set -- ${client_stat##*) }
  [ "$1" != Z ] && [ "${20}" = "$client_started" ]
}
client_end() {
  client_tries=0
  while client_alive; do
    kill -s KILL "$client" 2>/dev/null
    client_tries=$((client_tries + 1))
    if [ "$client_tries" -gt 100 ]; then echo 'the client that holds the lock does not end' >&2; return 1; fi
    sleep 0.05 2>/dev/null || sleep 1
  done
  # whoever waits for a word of it waits no longer
  [ ! -p "$hold/told" ] || : 1<>"$hold/told"
}
client_ask() { # a line of SQL, the word that the session says at its end
  client_alive || return 1
  client_fd=''
  read -r client_fd <"$hold/fd" && eval "printf '%s\n' \"\$1\" >&$client_fd" || return 1
  while IFS= read -r client_line; do
    case $client_line in
      "$2") return 0 ;;
      'hotfleet note '*) printf '%s\n' "${client_line#hotfleet }" ;;
    esac
  done <"$hold/told"
  return 1 # the client ended
}
client_start() { # program and words
  mkfifo -m 0600 -- "$hold/ask" "$hold/told" || return 1
  # several sessions may be held in one shell: each has a descriptor of its own
  for client_fd in 9 8 7 none; do [ -e "/proc/self/fd/$client_fd" ] || break; done
  [ "$client_fd" != none ] || { echo 'no descriptor is left for one more session' >&2; return 1; }
  printf '%s\n' "$client_fd" >"$hold/fd" || return 1
  eval "exec $client_fd<>\"\$hold/ask\""
  "$@" <"$hold/ask" 1<>"$hold/told" 2>"$hold/err" 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- &
  read -r client_stat <"/proc/$!/stat" || return 1
  client=$!
  # shellcheck disable=SC2086
  set -- ${client_stat##*) }
  printf '%s %s\n' "$client" "${20}" >"$hold/client"
}
client_stop() { # by the end of what it reads
  read -r client_fd <"$hold/fd" && eval "exec $client_fd>&-"
  wait "$client" 2>/dev/null
  return 0
}
client_fail() { # what the server said, for people
  echo "$1" >&2
  head -c 1000 -- "$hold/err" 2>/dev/null | grep -v '^-*$' >&2
  return 1
}
"""

_HOLD = r"""
client_start {client} || return 1
client_ask {sql} 'hotfleet held' || {{ client_fail {why}; return 1; }}
: >"$hold/held"
"""

# A session that ended before its time held nothing to the end: then the snapshot is worth nothing.
_RELEASE = r"""
if [ ! -e "$hold/held" ]; then client_end; return; fi
if client_ask {sql} 'hotfleet released'; then client_stop; return; fi
client_end
client_fail {why}
return {not_held}
"""

# A statement may begin with brackets and comments. sql_mode: how a backslash is read depends on it.
_LONG_SQL = r"""
set session sql_mode = '', lock_wait_timeout = 2;
select user, time from information_schema.processlist
where id <> connection_id() and command in ('Query', 'Execute') and time >= {seconds}
and regexp_replace(lower(info), '(?s)^([[:space:](]|/[*].*?[*]/|(--|#)[^\n]*\n)+', '')
  not rlike '^({harmless})([^a-z]|$)'
order by time desc limit 1;
"""
READING = ("select", "show", "explain", "describe", "desc", "with", "set", "do", "values", "use", "kill")
WRITING = ("insert", "update", "delete", "replace", "load")
_BEFORE = (
    BOUNDED
    + r"""
tab=$(printf '\t')
found=$(bounded 20 "$@" -e "$sql" 2>&1 </dev/null) || {
  printf '%s\n' "it could not be asked: $found" | head -c 1000 >&2
  exit 1
}
[ -n "$found" ] || exit 0
printf '%s\n' "$found" | {
  IFS="$tab" read -r user seconds
  echo "a statement of the user $user runs for $seconds s, and the lock would wait for it" >&2
}
exit 1
"""
)


def client_words(client: str, socket: str) -> tuple[str, ...]:
    """Given the client program and a socket, return the words that start a session."""
    return (client, f"--socket={socket}", *CLIENT_WORDS)


def lock_wait_s(patience: Patience) -> int:
    """Return how long one lock may be waited for. There are four, one after another."""
    return max(1, patience.freeze_ms // 4000)


def refuse_long(client: str, socket: str, *, seconds: int, harmless: Sequence[str]) -> Command:
    """Return the command that fails when a statement runs for so long that a lock would wait for it. It says
    whose and how old, not its text. A statement whose first word is `harmless` holds nothing up."""
    sql = _LONG_SQL.format(seconds=seconds, harmless="|".join(harmless))
    words = client_words(client, socket)
    return Command.of("/bin/sh", "-c", f"sql=$1\nshift\n{_BEFORE}", "hotfleet", sql, *words)


def hold_session(
    label: str, client: str, socket: str, patience: Patience, *, lock: str, unlock: str, before: Command
) -> Quiesce:
    """Given the SQL that locks and unlocks, in one line each, return the quiesce that holds a session around
    a snapshot."""
    seconds = max(1, patience.freeze_ms // 1000) + 5
    timeouts = f"set session lock_wait_timeout = {lock_wait_s(patience)}, wait_timeout = {seconds};"
    locked = f"{timeouts} {lock} select 'hotfleet held';"
    hold = _HOLD.format(
        client=join((*client_words(client, socket), "--unbuffered")),
        sql=quote(locked),
        why=quote("the lock was not obtained; nothing is held"),
    )
    release = _RELEASE.format(
        sql=quote(f"{unlock} select 'hotfleet released';"),
        not_held=NOT_HELD,
        why=quote("the session ended before its time: the lock was not held to the end"),
    )
    return Quiesce(
        label=label,
        hold=f"{_FUNCTIONS}\n{hold}",
        release=release,
        undo=f"{_FUNCTIONS}\nclient_end",
        before=(before,),
    )
