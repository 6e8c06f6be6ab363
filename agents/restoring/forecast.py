"""What will happen: looked at on the device before a restore, without changing anything there."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

from agents.commands import Command, Result, to_bytes, to_text
from agents.errors import PlanRefused, ProtocolBroken, RestoreTargetRefused
from agents.events import Phase, Tell
from agents.facts.mounts import MOUNTS, is_within, parse_mounts
from agents.flow import Control, OpenSession, phase
from agents.restoring.legs import Leg, make_legs
from agents.restoring.requests import Mode, RestoreRequest
from agents.restoring.room import check_room, find_grounds
from agents.restoring.staging import Tools
from agents.runner import Runner

# Paths of one question: with their bytes they fit into one request of the runner.
_BATCH = 20_000
_BATCH_BYTES = 2_000_000
_LOOK_S = 3600.0
# Each batch of names becomes four fields. -nt follows links in every shell: of a link nothing but its being
# there is counted.
_COUNT = r"""
existing=0 newer=0 newest=
for path; do
  [ -e "$path" ] || [ -L "$path" ] || continue
  existing=$((existing + 1))
  [ ! -L "$path" ] || continue
  [ ! "$path" -nt "$reference" ] || newer=$((newer + 1))
  if [ -z "$newest" ] || [ "$path" -nt "$newest" ]; then newest=$path; fi
done
at=0
[ -z "$newest" ] || at=$(stat -c %Y -- "$newest" 2>/dev/null) || at=0
printf '%s\0%s\0%s\0%s\0' "$existing" "$newer" "${at:-0}" "$newest"
"""
_SURVEY = r"""
TZ=UTC0 touch -t "$1" "$2" || exit 1
reference=$2
export reference
shift 2
if [ "$#" -gt 1 ]; then
  count=$1
  shift
  for each; do
    if [ -e "$each" ] || [ -L "$each" ]; then find "$each" -xdev ! -type d -print0; fi
  done | xargs -0 sh -c "$count" sh
else
  xargs -0 sh -c "$1" sh
fi
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """Something of the restore point that is picked. `kind` is restic's: file, dir, symlink..."""

    path: str
    kind: str
    size: int
    mtime: datetime | None = None


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a restore would do. `files` and `bytes` come; `existing` of what is there is in their way (in a
    swap: all files that are in the places), `newer` of these were changed after the restore point was made,
    the newest is told. `needed_bytes` must fit into `free_bytes` (None: not looked at, the place is refused).

    `refusal` ("": none) says why the restore would be refused, `remedy` what to do. `seconds` is None without
    a rate."""

    files: int
    bytes: int
    existing: int
    newer: int
    newest_at: datetime | None
    newest_path: str
    free_bytes: int | None
    needed_bytes: int
    refusal: str
    remedy: str
    seconds: float | None


@dataclass(slots=True)
class _Seen:
    existing: int = 0
    newer: int = 0
    newest_at: int = 0
    newest_path: str = ""

    def add(self, output: bytes) -> None:
        """Given what the device counted, add it. Raise ProtocolBroken when it is something else."""
        fields = to_text(output).split("\0")
        if len(fields) % 4 != 1 or fields[-1]:
            raise ProtocolBroken("the device did not count what is there", detail=repr(output[:300]))
        for existing, newer, at, path in zip(*(iter(fields[:-1]),) * 4, strict=True):
            if not (existing.isdigit() and newer.isdigit() and at.lstrip("-").isdigit()) or len(at) > 12:
                raise ProtocolBroken("the device did not count what is there", detail=repr(output[:300]))
            self.existing += int(existing)
            self.newer += int(newer)
            if path and (not self.newest_path or int(at) > self.newest_at):
                self.newest_at, self.newest_path = int(at), path


def forecast(
    request: RestoreRequest,
    entries: Iterable[Entry],
    open_session: OpenSession,
    *,
    tell: Tell,
    control: Control,
    bytes_per_s: float | None = None,
) -> Forecast:
    """Given what would be restored and an entry for each thing of it, return what would happen. The entries
    are read once, and never held all together.

    Raise ConnectFailed and its like when the device cannot be asked, PlanRefused for a bad choice."""
    with phase(tell, Phase.CONNECT):
        session = open_session()
    with (
        closing(session),
        Runner(session, console_id=request.console_id, run_id=request.run_id, tell=tell) as runner,
        phase(tell, Phase.CHECK),
    ):
        tools = Tools(runner)
        mounts = parse_mounts(runner.run(MOUNTS).stdout)
        totals, refusal, remedy, free = _Totals(entries), "", "", None
        first = list(islice(totals, 2))
        is_file = len(first) == 1 and first[0].kind != "dir" and first[0].path == request.base
        seen = _Seen()
        try:
            mounts = find_grounds(tools, request, mounts)
            legs = make_legs(request, mounts, is_file=is_file)
            free = min(tools.look(leg.destination).free_bytes for leg in legs)
            for leg in legs:
                if leg.items:
                    seen.add(_survey(runner, request.moment, leg.places).stdout)
            for paths in _batches(_destinations(legs, [*first], totals)):
                control.raise_if_stopped()
                if request.mode is Mode.MERGE:
                    seen.add(_survey(runner, request.moment, (), paths).stdout)
            check_room(tools, legs, request, mounts, needed_bytes=totals.bytes)
        except RestoreTargetRefused as error:
            refusal, remedy = error.message, error.remedy
            for _ in totals:
                pass
    return Forecast(
        files=totals.files,
        bytes=totals.bytes,
        existing=seen.existing,
        newer=seen.newer,
        newest_at=datetime.fromtimestamp(seen.newest_at, UTC) if seen.newest_path else None,
        newest_path=seen.newest_path,
        free_bytes=free,
        needed_bytes=totals.bytes,
        refusal=refusal,
        remedy=remedy,
        seconds=totals.bytes / bytes_per_s if bytes_per_s else None,
    )


class _Totals:
    """Passes entries on once, and adds them up."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries = iter(entries)
        self.files = 0
        self.bytes = 0

    def __iter__(self) -> Iterator[Entry]:
        return self

    def __next__(self) -> Entry:
        entry = next(self._entries)
        if entry.kind != "dir":
            self.files += 1
            self.bytes += entry.size
        return entry


def _destinations(legs: Sequence[Leg], first: Sequence[Entry], rest: Iterable[Entry]) -> Iterator[str]:
    """Yield where each file would go."""
    for entries in (first, rest):
        for entry in entries:
            if entry.kind != "dir":
                yield from _destination(legs, entry.path)


def _destination(legs: Sequence[Leg], path: str) -> Iterator[str]:
    holders = [leg for leg in legs if is_within(path, leg.folder)]
    if not holders:
        raise PlanRefused("Something that is picked does not lie in the folder that is restored.")
    leg = max(holders, key=lambda each: len(each.folder))
    yield posixpath.join(leg.destination, posixpath.relpath(path, leg.folder))


def _batches(paths: Iterable[str]) -> Iterator[bytes]:
    """Yield paths, each ended by NUL, in pieces of a bounded size."""
    pieces: list[bytes] = []
    size = 0
    for path in paths:
        piece = to_bytes(path) + b"\0"
        if size + len(piece) > _BATCH_BYTES or len(pieces) >= _BATCH:
            yield b"".join(pieces)
            pieces, size = [], 0
        pieces.append(piece)
        size += len(piece)
    if pieces:
        yield b"".join(pieces)


def _survey(runner: Runner, moment: datetime, places: Sequence[str], paths: bytes = b"") -> Result:
    stamp = f"{moment.astimezone(UTC):%Y%m%d%H%M.%S}"
    words = ("sh", "-c", _SURVEY, "hotfleet", stamp, f"{runner.directory}/reference", _COUNT, *places)
    return runner.run(Command.of(*words, stdin=paths or None), timeout_s=_LOOK_S)
