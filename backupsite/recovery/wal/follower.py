"""One thread that follows one log, or removes its slot from the device."""

from __future__ import annotations

import logging
import threading
import uuid

from django.conf import settings
from django.db import connections

from agents.errors import AgentError, Cancelled, LeaseLost
from agents.wal.stream import drop_slot, stream
from agents.wal.words import Gap, Streamed, StreamRequest
from backupsite.fleet.sessions import open_session
from backupsite.recovery.wal.keeping import make_spool
from backupsite.recovery.wal.lease import Holding
from backupsite.recovery.wal_models import WalStream

log = logging.getLogger(__name__)


News = tuple[Streamed | None, tuple[Gap, ...]]


class Fault(AgentError):
    """Something that nobody expected. The log of the console holds all of it."""

    code = "fault"
    retryable = True


class Follower:
    """Follows until it is stopped or something goes wrong. Implements `agents.flow.Control`."""

    def __init__(self, row: WalStream, holding: Holding) -> None:
        self.is_ending = not row.is_wanted
        self.error: AgentError | None = None
        self._row = row
        self._holding = holding
        self._stopped = threading.Event()
        self._is_lost = False
        self._lock = threading.Lock()
        self._newest: Streamed | None = None
        self._gaps: list[Gap] = []
        self._thread = threading.Thread(target=self._work, name=f"log {row.slot}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, *, is_lost: bool = False) -> None:
        """Have it leave the device. `is_lost`: somebody else may follow now, so nothing may be written."""
        self._is_lost = self._is_lost or is_lost
        self._stopped.set()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    @property
    def is_over(self) -> bool:
        return not self._thread.is_alive()

    def read_news(self) -> News:
        """Return the newest position and the gaps that were heard and not noted yet."""
        with self._lock:
            return self._newest, tuple(self._gaps)

    def note_news(self, news: News) -> None:
        """Forget what is written down by now. Until then it is told again: a gap must not get lost."""
        newest, gaps = news
        with self._lock:
            del self._gaps[: len(gaps)]
            if self._newest is newest:
                self._newest = None

    # What the flow asks, from its own threads.

    def raise_if_stopped(self) -> None:
        if not self.is_current():
            raise LeaseLost("Another process may follow this log now.")
        if self._stopped.is_set():
            raise Cancelled("The log is not followed any more.")

    def is_current(self) -> bool:
        return not self._is_lost and self._holding.is_current()

    def _tell(self, event: object) -> None:
        with self._lock:
            if isinstance(event, Streamed):
                self._newest = event
            elif isinstance(event, Gap):
                self._gaps.append(event)

    def _work(self) -> None:
        try:
            self._follow()
        except Cancelled:
            pass
        except AgentError as error:
            self.error = error
        except Exception as error:
            log.exception("Following the log of slot %s ended with a fault.", self._row.slot)
            self.error = Fault(f"A fault in Hotfleet: {type(error).__name__}.")
        finally:
            connections.close_all()

    def _follow(self) -> None:
        row = self._row
        request = StreamRequest(
            console_id=settings.CONSOLE_ID,
            stream_id=uuid.uuid4().hex,
            instance=row.instance,
            slot=row.slot,
            spool=make_spool(row),
        )
        if self.is_ending:
            drop_slot(request, lambda: open_session(row.device), tell=self._tell)
        else:
            stream(request, lambda: open_session(row.device), tell=self._tell, control=self)
