"""The flow that streams an instance's log into the console, until it is stopped or cut.

1. the server is asked whether it can be streamed, and our slot keeps its log from then on;
2. what is in the spool is compared with what the server has there: its log goes on, or a new stretch begins;
3. each answer is on the console's disk before the next question says so, and only then the slot lets go.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, closing

from agents.errors import ProtocolBroken
from agents.events import Said
from agents.flow import Control, OpenSession
from agents.wal.asking import Server, find_server, open_runner, prepare_slot, remove_slot
from agents.wal.pages import check_pages
from agents.wal.spool import (
    EDGE_BYTES,
    Stretch,
    begin_stretch,
    current_stretch,
    forget_empty,
    locked,
    require_room,
)
from agents.wal.tap import MOST_BYTES, Answer, Tap
from agents.wal.words import Gap, StreamBroken, Streamed, StreamRequest, TellWal, Tick, format_lsn

# So often an idle server is asked, and so often the spool notes that nothing was new.
_ASK_EVERY_S = 1.0
_NOTE_IDLE_EVERY_S = 5.0
_NAP_S = 0.2


def stream(request: StreamRequest, open_session: OpenSession, *, tell: TellWal, control: Control) -> None:
    """Stream until `control` stops it. One stream a spool.

    Raise PlanRefused with the remedy when the server cannot be streamed; StreamBroken, ConnectionLost and
    other retryable errors when a new start goes on where this one ended; what `control` raises."""
    with ExitStack() as stack:
        stack.enter_context(locked(request.spool, "stream"))
        runner = stack.enter_context(open_runner(request, open_session, tell))
        tell(Said(f"Connected: {runner.session.label}."))
        _end_dead_runs(runner.list_runs(), runner.name, runner.heal_run)
        instance = find_server(runner, request)
        server = prepare_slot(runner, instance, request.slot, tell)
        tap = stack.enter_context(closing(Tap(runner, server, request.slot, control.raise_if_stopped)))
        _Stream(request, server, tap, tell, control).run()


def drop_slot(request: StreamRequest, open_session: OpenSession, *, tell: TellWal) -> bool:
    """Remove the slot from the device, when its log is not wanted any more. Return whether there was one.

    Raise StreamBroken when the server does not answer now."""
    with open_runner(request, open_session, tell) as runner:
        instance = find_server(runner, request)
        was_there = remove_slot(runner, instance, request.slot)
    if was_there:
        tell(Said(f"{instance.label}: the slot {request.slot} was removed."))
    return was_there


class _Stream:
    """One stream while it runs."""

    def __init__(
        self, request: StreamRequest, server: Server, tap: Tap, tell: TellWal, control: Control
    ) -> None:
        self._request = request
        self._server = server
        self._tap = tap
        self._tell = tell
        self._control = control
        self._pending_whole = 0
        self._noted_at = float("-inf")
        self._tick: Tick | None = None

    def run(self) -> None:
        stretch = self._begin()
        forget_empty(self._request.spool)
        last = stretch.piece()
        self._tick = last.until if last is not None else None
        position = stretch.end()
        while True:
            asked = time.monotonic()
            room = self._server.segment_bytes - position % self._server.segment_bytes
            answer = self._ask(stretch.timeline, position, min(MOST_BYTES, room))
            data = self._checked(stretch, answer, position)
            if data:
                require_room(self._request.spool)
                check_pages(data, position, stretch.timeline, self._server.block_bytes)
                stretch.append(position, data)
                position += len(data)
            self._told(stretch, answer, position, is_new=bool(data))
            if position >= answer.flushed:
                self._rest(asked + _ASK_EVERY_S)

    def _ask(self, timeline: int, position: int, most: int) -> Answer:
        # the slot keeps some bytes more: by them a server that continues is told from one that does not
        kept = max(0, position - EDGE_BYTES) if most else 0
        return self._tap.ask(kept=kept, timeline=timeline, start=position, most=most)

    def _checked(self, stretch: Stretch, answer: Answer, position: int) -> bytes:
        """Return the bytes of an answer. Raise StreamBroken when they do not continue what is here: the next
        start finds out what is missing."""
        if answer.system_identifier != stretch.system_identifier or answer.timeline != stretch.timeline:
            raise StreamBroken("the server became another one")
        if answer.flushed < position:
            raise StreamBroken("the server's log went back")
        if answer.slot in ("lost", "missing"):
            raise StreamBroken(f"the slot {self._request.slot} is {answer.slot}")
        if answer.data is None:
            raise StreamBroken(f"the server does not have its log at {format_lsn(position)} any more")
        if not answer.data and answer.flushed > position:
            raise ProtocolBroken("the server has more log and handed over none")
        return answer.data

    def _told(self, stretch: Stretch, answer: Answer, position: int, *, is_new: bool) -> None:
        """Keep the answer as a tick when all that the server had is here, and tell how far the log is. While
        a new stretch catches up for the first time there is nothing to tell: no moment is reached yet."""
        if position == answer.flushed:
            self._tick = Tick(answer.at, answer.seen_at, position, self._whole(answer, position))
            if is_new or time.monotonic() - self._noted_at >= _NOTE_IDLE_EVERY_S:
                stretch.note(self._tick)
                self._noted_at = time.monotonic()
        if self._tick is not None:
            words = (stretch.name, stretch.system_identifier, stretch.timeline, self._tick)
            self._tell(Streamed(*words, answer.flushed - position))

    def _whole(self, answer: Answer, position: int) -> int:
        """Return the newest position up to `position` that ends a record, as far as one was asked: what the
        server had begun by then ended there."""
        whole, pending = 0, self._pending_whole
        if 0 < pending <= position:
            whole, self._pending_whole = pending, 0
        if answer.whole <= position:
            return answer.whole
        self._pending_whole = self._pending_whole or answer.whole
        return whole

    def _begin(self) -> Stretch:
        """Return the stretch that goes on: the one in the spool when the server's log continues it."""
        known = current_stretch(self._request.spool)
        timeline = known.timeline if known is not None else 1
        answer = self._ask(timeline, 0, 0)
        why = self._why_new(known, answer)
        if known is not None and not why:
            return known
        start, end = self._find_start(answer), known.end() if known is not None else 0
        stretch = begin_stretch(
            self._request.spool,
            answer.system_identifier,
            answer.timeline,
            self._server.segment_bytes,
            start,
        )
        self._tell(Gap(stretch.name, end, start, why))
        return stretch

    def _find_start(self, answer: Answer) -> int:
        """Return where the segment begins from which on the log is there: of the slot, or (the slot may be
        older than the timeline) of now."""
        size = self._server.segment_bytes
        for position in (answer.restart, answer.flushed):
            start = position // size * size
            if position and self._has(answer.timeline, start, 1) is not None:
                return start
        raise StreamBroken("the server does not have its newest log")

    def _why_new(self, known: Stretch | None, answer: Answer) -> str:
        """Return why the server's log does not continue what is in the spool, "" when it does."""
        if known is None:
            return "this is the first log of it"
        if answer.system_identifier != known.system_identifier:
            return "another cluster is in its place"
        if answer.timeline != known.timeline:
            return f"it is on timeline {answer.timeline} now: it was restored or promoted"
        end, size = known.end(), known.segment_bytes
        if size != self._server.segment_bytes:
            return "its segments have another size now"
        if answer.flushed < end:
            return "its log went back: it was restored"
        edge = known.last_bytes()
        if not edge:
            is_there = self._has(known.timeline, end, 1) is not None
            return "" if is_there else "the server removed its log meanwhile"
        data = self._has(known.timeline, end - len(edge), len(edge))
        if data is None:
            return "the server removed log that had not come yet: the slot keeps only max_slot_wal_keep_size"
        return "" if data == edge else "its log is another one since: it was restored"

    def _has(self, timeline: int, start: int, most: int) -> bytes | None:
        return self._tap.ask(kept=0, timeline=timeline, start=start, most=most).data

    def _rest(self, until: float) -> None:
        while (left := until - time.monotonic()) > 0:
            self._control.raise_if_stopped()
            time.sleep(min(_NAP_S, left))


def _end_dead_runs(runs: list[tuple[bool, str]], name: str, heal: Callable[[str], bool]) -> None:
    """A stream before this one may have died with its reaper."""
    own = name.rpartition("-")[0]
    for is_alive, path in runs:
        if not is_alive and path.rpartition("/")[2].startswith(f"{own}-"):
            heal(path)
