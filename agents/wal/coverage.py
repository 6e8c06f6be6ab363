"""Which moments can be reached, and which pieces of the log lead there. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from agents.wal.words import Base, Piece, Tick, Window

Chain = tuple[Piece, ...]


def coverage(bases: Sequence[Base], pieces: Iterable[Piece]) -> tuple[Window, ...]:
    """Given restore points of an instance and all pieces of its log, return the windows, oldest first.

    A base begins a window when the log goes on from before it was begun: then the log that it lacks is here,
    whatever its method."""
    windows = []
    for chain in chains(pieces):
        last = _last_tick(chain)
        usable = _usable(bases, chain)
        if last is None or not usable:
            continue
        since = min(_at_server(base.ended, chain) for base in usable)
        windows.append(Window(since, last.at, chain[0].stretch, chain[0].timeline, usable))
    return tuple(sorted(windows, key=lambda window: window.since))


def base_for(moment: datetime, windows: Iterable[Window], pieces: Iterable[Piece]) -> Base | None:
    """Given a moment (the server's clock) and what `coverage` returned for these pieces, return the newest
    base that ended before it, None when the moment cannot be reached."""
    every = chains(pieces)
    for window in windows:
        for chain in every:
            last = _last_tick(chain)
            is_its = chain[0].stretch == window.stretch and last is not None and last.at == window.until
            if not is_its or not window.since <= moment <= window.until:
                continue
            earlier = [base for base in window.bases if _at_server(base.ended, chain) <= moment]
            if earlier:
                return max(earlier, key=lambda base: base.ended)
    return None


def log_between(base: Base, moment: datetime | None, pieces: Iterable[Piece]) -> Chain:
    """Given a base and a moment (None: the newest there is), return the pieces whose log leads from one to
    the other, in their order; () when there are none."""
    for chain in chains(pieces):
        last = _last_tick(chain)
        if last is None or not _usable([base], chain):
            continue
        if moment is not None and not _at_server(base.ended, chain) <= moment <= last.at:
            continue
        return _until(_from(chain, base), moment)
    return ()


def chains(pieces: Iterable[Piece]) -> list[Chain]:
    """Given pieces, return those that continue each other, each as long as it goes; no segment twice."""
    by_stretch: dict[str, list[Piece]] = {}
    for piece in pieces:
        by_stretch.setdefault(piece.stretch, []).append(piece)
    return [chain for each in by_stretch.values() for chain in _chains_of(each)]


def _chains_of(pieces: list[Piece]) -> list[Chain]:
    # What was stored before its last segment was full comes again, longer: the same segment must not come
    # from both.
    top = max(piece.end for piece in pieces)
    kept = [piece for piece in pieces if piece.is_whole or piece.end == top]
    found: list[list[Piece]] = []
    end = -1
    for piece in sorted(kept, key=_order):
        if piece.start > end:
            found.append([])
        elif piece.start < end:
            continue  # the same log once more, after a batch that was stored twice
        found[-1].append(piece)
        end = piece.end
    return [tuple(chain) for chain in found]


def _order(piece: Piece) -> tuple[int, int, float]:
    """Of those that begin together the longest first, of two as long the one that knows the later tick."""
    return piece.start, -piece.end, -piece.until.at.timestamp() if piece.until is not None else 0.0


def _usable(bases: Iterable[Base], chain: Chain) -> tuple[Base, ...]:
    first, last = _first_tick(chain), _last_tick(chain)
    if first is None or last is None:
        return ()
    return tuple(base for base in bases if first.seen_at <= base.began and base.ended <= last.seen_at)


def _from(chain: Chain, base: Base) -> Chain:
    """Leave out pieces whose log the base holds itself: the next one was being written when it began."""
    first = 0
    for number, piece in enumerate(chain):
        if piece.since is not None and piece.since.seen_at <= base.began:
            first = number
    return chain[first:]


def _until(chain: Chain, moment: datetime | None) -> Chain:
    for number, piece in enumerate(chain, 1):
        if moment is not None and piece.until is not None and piece.until.at >= moment:
            return chain[:number]
    return chain


def _ticks(chain: Chain) -> list[Tick]:
    return [tick for piece in chain for tick in (piece.since, piece.until) if tick is not None]


def _first_tick(chain: Chain) -> Tick | None:
    return next(iter(_ticks(chain)), None)


def _last_tick(chain: Chain) -> Tick | None:
    return next(reversed(_ticks(chain)), None)


def _at_server(moment: datetime, chain: Chain) -> datetime:
    """Given a time of the console's clock, return it as the server's, by the tick that was seen nearest."""
    nearest = min(_ticks(chain), key=lambda tick: abs(tick.seen_at - moment), default=None)
    return moment if nearest is None else moment + _skew(nearest)


def _skew(tick: Tick) -> timedelta:
    return tick.at - tick.seen_at
