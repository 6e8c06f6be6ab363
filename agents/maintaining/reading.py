"""Reading a repository in turns: each file is named by the SHA-256 of its content, so that whoever reads it
knows whether it is what was stored, without any key.

A pass reads (1) what was never read, which is all that is new and all that was found damaged before, (2) what
was not read for so long that it is due, (3) of the rest what was read longest ago, until a thirtieth of
all bytes is read. So every byte is read within 30 days when there is a pass on each, what is new at the next
pass, and a day that was missed is made up for. A pass may be cut anywhere: the next one goes on.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from agents.events import Level, Moved, Said, Tell
from agents.gateway.local import LocalReader
from agents.gateway.metered import MeteredReader
from agents.gateway.store import Reader, Store, StoreFailed, StoreUnreachable
from agents.gateway.target import Kind, Target
from agents.maintaining.record import Record
from agents.maintaining.words import Finding, ReadingReport, Upkeeper

DAYS = 30
# A file is read again a day before it would be too late: a pass is not at the same minute each day.
DUE_S = (DAYS - 1) * 86_400 - 3600
KINDS = (Kind.KEYS, Kind.SNAPSHOTS, Kind.INDEX, Kind.DATA)
_PIECE = 1024 * 1024
_SAVE_EVERY_S = 60.0
_TELL_EVERY_S = 1.0
CHANGED = "its content is not what was stored"
# So many files in a row that do not come: it is the store or the line, and the pass ends.
_MOST_UNREACHED = 5


@dataclass(frozen=True, slots=True)
class Turn:
    """One file that a pass reads."""

    target: Target
    size: int
    is_due: bool


def choose_turns(sizes: dict[Target, int], record: Record, now_s: int, *, everything: bool) -> list[Turn]:
    """Given every file and its size, return what a pass reads, in this order. Pure.

    What is due comes first, oldest first; nothing that is due is left out, whatever it comes to."""
    oldest = sorted(sizes, key=lambda target: (record.of(target).read_s, str(target)))
    share = -(-sum(sizes.values()) // DAYS)
    turns: list[Turn] = []
    for target in oldest:
        read_s = record.of(target).read_s
        is_new = read_s == 0
        is_due = is_new or now_s - read_s >= DUE_S or read_s > now_s
        if not (is_due or everything or share > 0):
            break
        turns.append(Turn(target, sizes[target], is_due))
        share -= 0 if is_new else sizes[target]
    return turns


class ReadingPass:
    """One pass over a repository. Reads without restic and without its keys; writes only the record."""

    def __init__(self, store: Store, record: Record, *, tell: Tell, control: Upkeeper, rate_bytes_s: int = 0):
        self._store = store
        self._record = record
        self._tell = tell
        self._control = control
        self._pace = _Pace(rate_bytes_s)
        self._told = self._saved = time.monotonic()
        self.findings: list[Finding] = []
        self.read_files = self.read_bytes = 0
        self.is_whole = False
        self._missed = self._unreached = 0

    def run(self, now: Callable[[], float] = time.time, *, everything: bool = False) -> ReadingReport:
        """Read what is due now, and return how much was read. Stops early when the caller gives way.

        Raise StoreFailed when the store does not answer, and what the control raises. What was read until
        then is in the record."""
        sizes = {Target(kind, name): size for kind in KINDS for name, size in self._store.list(kind)}
        self._record.meet(sizes, int(now()))
        turns = choose_turns(sizes, self._record, int(now()), everything=everything)
        total = sum(turn.size for turn in turns)
        try:
            for turn in turns:
                self._control.raise_if_stopped()
                if self._control.must_give_way():
                    break
                self._read(turn, now)
                self._look_up(total, len(turns))
            else:
                self.is_whole = not self._missed
        finally:
            self._save()
        self._show(total, len(turns))
        return self._report(sizes, int(now()))

    def _read(self, turn: Turn, now: Callable[[], float]) -> None:
        """Read a file, and note what it is."""
        try:
            problem = self._look_twice(turn.target)
        except StoreUnreachable as error:
            self._pass_over(turn.target, error)
            return
        self._unreached = 0
        if problem is None:
            return  # it is gone: who may remove files did so
        self.read_files += 1
        self.read_bytes += turn.size
        # What is damaged counts as never read: so it is found again each day, until it is mended.
        self._record.of(turn.target).read_s = 0 if problem else int(now())
        if problem:
            self.findings.append(Finding(turn.target, problem))
            self._tell(Said(f"{self.findings[-1]}.", Level.ERROR))

    def _pass_over(self, target: Target, error: StoreUnreachable) -> None:
        """A file that did not come over the network is not damaged: it stays as unread as it was, and is due
        again at the next pass. Raise the error when none comes any more."""
        self._missed += 1
        self._unreached += 1
        if self._unreached >= _MOST_UNREACHED:
            raise error
        self._tell(
            Said(f"{target} was not read: {error.reason}. The next check tries it again.", Level.WARNING)
        )

    def _look_twice(self, target: Target) -> str | None:
        """Read a file, a second time when it is not what it should be: the disk may have changed its mind."""
        problem = self._find_problem(target)
        if not problem:
            return problem
        try:
            again = self._find_problem(target)
        except StoreUnreachable:
            return problem
        if again == "":
            said = "was wrong when it was read first, and right when it was read again"
            self._tell(Said(f"{target} {said}: look at the memory and the disk.", Level.WARNING))
        return "" if again == "" else problem

    def _find_problem(self, target: Target) -> str | None:
        """Return "" when a file is what was stored, what is wrong with it, or None when there is none."""
        try:
            reader = self._store.open(target)
            if reader is None:
                return None
            try:
                digest = self._hash(reader)
            finally:
                reader.close()
        except StoreFailed as error:
            # Only the file, or all of the store? Asking for what must be there tells.
            if isinstance(error, StoreUnreachable) or self._store.size(Target(Kind.CONFIG, "")) is None:
                raise
            return f"it cannot be read ({error.reason})"
        return "" if digest == target.name else CHANGED

    def _hash(self, reader: Reader) -> str:
        if isinstance(reader, LocalReader | MeteredReader):
            reader.forget_cached()
        digest, offset = hashlib.sha256(), 0
        while piece := reader.read(offset, _PIECE):
            self._control.raise_if_stopped()
            digest.update(piece)
            offset += len(piece)
            self._pace.wait(len(piece))
        return digest.hexdigest()

    def _look_up(self, total: int, files: int) -> None:
        now = time.monotonic()
        if now - self._told >= _TELL_EVERY_S:
            self._told = now
            self._show(total, files)
        if now - self._saved >= _SAVE_EVERY_S:
            self._saved = now
            self._save()

    def _save(self) -> None:
        """Keep what was read. On a full disk the check goes on: the next pass only reads it again."""
        try:
            self._record.save()
        except OSError as error:
            self._tell(Said(f"What was read could not be written down: {error.strerror}.", Level.WARNING))

    def _show(self, total: int, files: int) -> None:
        self._tell(Moved(self.read_bytes, self.read_files, 0, len(self.findings), total, files))

    def _report(self, sizes: dict[Target, int], now_s: int) -> ReadingReport:
        ages, unread = [0] * (DAYS + 1), 0
        for target, size in sizes.items():
            read_s = self._record.of(target).read_s
            if read_s == 0:
                unread += size
            else:
                ages[min(max(now_s - read_s, 0) // 86_400, DAYS)] += size
        return ReadingReport(
            len(sizes),
            sum(sizes.values()),
            unread,
            tuple(ages),
            self.read_files,
            self.read_bytes,
            self.is_whole,
        )


class _Pace:
    """Holds reading to so many bytes a second; zero: as fast as it goes."""

    def __init__(self, rate_bytes_s: int) -> None:
        self._rate = rate_bytes_s
        self._since, self._bytes = time.monotonic(), 0

    def wait(self, size: int) -> None:
        if not self._rate:
            return
        self._bytes += size
        ahead_s = self._bytes / self._rate - (time.monotonic() - self._since)
        if ahead_s > 0:
            time.sleep(min(ahead_s, 1.0))


def damaged_of(findings: Iterable[Finding], kind: Kind) -> set[str]:
    """Given findings, return the names of the files of one kind among them."""
    targets = [each.target for each in findings if each.target is not None]
    return {target.name or "" for target in targets if target.kind is kind}
