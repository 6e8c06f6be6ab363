"""The program on the device that hands over the log, and what it answers.

It holds one session of the server and does nothing by itself: the console asks (what it has on its disk, what
it wants next), and one answer comes. So it never runs ahead of the console, and rests when nobody asks.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from agents.applications.postgresql_ways import as_owner, make_connection
from agents.binds import NO_LIMITS
from agents.commands import Command, to_text
from agents.errors import ConnectionLost, ProtocolBroken
from agents.runner import Runner, SupervisedProgram
from agents.wal.asking import Server
from agents.wal.words import StreamBroken, format_lsn, parse_lsn, segment_name

MOST_BYTES = 4 * 1024 * 1024
_ANSWER_S = 90.0
_POLL_S = 1.0
_MOST_LINE = 512
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ASKED = "asked"
# $1 the pipe by which the console asks, then the words of the owner's program. It is open for both, so that
# whoever writes into it never waits for a reader.
_OUTER = r"""
set -u
pipe=$1
shift
mkfifo -m 0600 -- "$pipe" && exec 5<>"$pipe" || exit 1
echo ready
"$@" <&5 5<&-
status=$?
rm -f -- "$pipe"
exit "$status"
"""
# The owner's: $1 psql, $2 the connection, $3 the slot, $4 the data, $5 what is said first, $6 each question,
# $7 what hands over. psql runs what it is told to by a shell, on our stdout.
_INNER = r"""
set -u
psql=$1 database=$2 slot=$3 question=$6
hf_data=$4 hf_hand_over=$7
export hf_data hf_hand_over
cd / || exit 1
{
  printf '%s\n' "\\set slot '$slot'" "$5"
  while read -r kept start segment offset most; do
    printf '%s\n' "\\set kept '$kept'" "\\set start '$start'" "\\set most $most" \
      "\\setenv hf_segment $segment" "\\setenv hf_offset $offset" "$question"
  done
} | "$psql" -X -q -w -A -t -o /dev/null -v ON_ERROR_STOP=1 -d "$database" -f -
"""
_FIRST = r"""
select set_config(name, '0', false) from pg_settings
where name in ('idle_session_timeout', 'statement_timeout', 'lock_timeout');
"""
# The time before the position, and the end of what was begun before what is on the disk: so each may be taken
# for what it says.
_QUESTION = r"""
select (extract(epoch from clock_timestamp()) * 1000000)::bigint as at,
  pg_current_wal_insert_lsn() as whole \gset
select pg_current_wal_flush_lsn() as flushed \gset
select greatest(0, least(:most, pg_wal_lsn_diff(:'flushed', :'start')))::bigint as count,
  left(pg_walfile_name(:'flushed'), 8) as timeline,
  (select system_identifier from pg_control_system()) as system,
  coalesce((select coalesce(wal_status, 'lost') || ' ' || coalesce(restart_lsn, '0/0')
    from pg_replication_slots where slot_name = :'slot'), 'missing 0/0') as kept_by_slot \gset
\setenv hf_head :at' ':whole' ':flushed' ':timeline' ':system' ':kept_by_slot
\setenv hf_count :count
\! eval "$hf_hand_over"
select pg_replication_slot_advance(slot_name, :'kept') from pg_replication_slots
where slot_name = :'slot' and restart_lsn < :'kept';
"""
# A file that was given another name meanwhile is being written anew. A server that is told to end when its
# sessions do ("smart") says so in the eighth line of postmaster.pid only.
_HAND_OVER = r"""
segment=$hf_data/pg_wal/$hf_segment status=''
{
  for line in 1 2 3 4 5 6 7 8; do IFS= read -r status; done <"$hf_data/postmaster.pid"
} 2>/dev/null
hand_over() {
  echo "wal $hf_head $hf_count"
  tail -c "+$((hf_offset + 1))" | head -c "$hf_count"
  if [ "$segment" -ef /proc/self/fd/0 ]; then echo 'end same'; else echo 'end other'; fi
}
case $status in stopping*) hf_count=stopping ;; esac
if [ "$hf_count" = stopping ]; then echo stopping
elif [ "$hf_count" = 0 ]; then echo "wal $hf_head 0" && echo 'end same'
else hand_over <"$segment" || echo "wal $hf_head missing"
fi 2>/dev/null
"""
_HEAD = re.compile(
    rb"wal ([0-9]{1,16}) ([0-9A-F/]{3,17}) ([0-9A-F/]{3,17}) ([0-9A-F]{8}) ([0-9]{1,20}) "
    rb"([a-z]{1,20}) ([0-9A-F/]{3,17}) ([0-9]{1,10}|missing)",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said, and the bytes that were asked for, None: their segment is not there any more.

    `slot` is its wal_status, "missing" without one; `restart` the oldest position that it keeps."""

    at: datetime
    seen_at: datetime
    whole: int
    flushed: int
    timeline: int
    system_identifier: str
    slot: str
    restart: int
    data: bytes | None


class Tap:
    """The program while it runs. `close` ends it."""

    def __init__(self, runner: Runner, server: Server, slot: str, check: Callable[[], None]) -> None:
        """Given also what is called while it waits, and raises to stop it: start the program."""
        self._runner = runner
        self._segment_bytes = server.segment_bytes
        self._check = check
        instance = server.instance
        words = (instance.detail("psql"), make_connection(server.database), slot)
        sources = (_FIRST, _QUESTION, _HAND_OVER)
        inner = as_owner(
            instance, "/bin/sh", "-c", _INNER, "hotfleet", *words, instance.detail("data"), *sources
        )
        command = Command.of("/bin/sh", "-c", _OUTER, "hotfleet", f"{runner.directory}/{_ASKED}", *inner.argv)
        self._buffer = bytearray()
        self._program: SupervisedProgram = runner.start(command, environment={}, limits=NO_LIMITS)
        try:
            if self._line() != b"ready":
                raise ProtocolBroken("the program that hands over the log did not start")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._program.close()

    def ask(self, *, kept: int, timeline: int, start: int, most: int) -> Answer:
        """Say that the log up to `kept` is on the console's disk (0: nothing to say), and ask for up to
        `most` bytes from `start`, of one segment. Raise StreamBroken when the server ended the session."""
        segment = segment_name(timeline, start, self._segment_bytes)
        offset = start % self._segment_bytes
        if not 0 <= most <= min(MOST_BYTES, self._segment_bytes - offset):
            raise ValueError("that is more than one answer holds")
        line = f"{format_lsn(kept)} {format_lsn(start)} {segment} {offset} {most}\n"
        self._runner.write_file(_ASKED, line.encode())
        head = self._line()
        seen_at = datetime.now(UTC)
        if head == b"stopping":
            raise StreamBroken("The server is being stopped.")
        match = _HEAD.fullmatch(head)
        if match is None:
            raise ProtocolBroken("the program that hands over the log said something else", detail=repr(head))
        at, whole, flushed, line_number, system, slot, restart, count = (
            to_text(each) for each in match.groups()
        )
        data = None if count == "missing" else self._data(int(count), most)
        return Answer(
            _EPOCH + timedelta(microseconds=int(at)),
            seen_at,
            parse_lsn(whole),
            parse_lsn(flushed),
            int(line_number, 16),
            system,
            slot,
            parse_lsn(restart),
            data,
        )

    def _data(self, count: int, most: int) -> bytes | None:
        if count > most:
            raise ProtocolBroken("more log came than was asked for")
        self._fill(count)
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        end = self._line()
        if end not in (b"end same", b"end other"):
            raise ProtocolBroken("less log came than was promised", detail=repr(end))
        return data if end == b"end same" else None

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > _MOST_LINE:
                raise ProtocolBroken("the program that hands over the log said too much")
            self._fill(len(self._buffer) + 1)
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    def _fill(self, size: int) -> None:
        until = time.monotonic() + _ANSWER_S
        while len(self._buffer) < size:
            self._check()
            try:
                data = self._program.read(timeout_s=_POLL_S)
            except TimeoutError:
                if time.monotonic() > until:
                    raise ConnectionLost("the server did not answer in time") from None
                continue
            if not data:
                raise self._ended()
            self._buffer += data

    def _ended(self) -> StreamBroken:
        try:
            status = str(self._program.wait(timeout_s=30))
        except TimeoutError:
            status = "unknown"
        said = to_text(self._program.stderr_tail).strip()
        last = said.splitlines()[-1][:300] if said else f"status {status}"
        return StreamBroken(f"The server ended the session: {last}", detail=said)
