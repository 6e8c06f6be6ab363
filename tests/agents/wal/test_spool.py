"""The spool keeps what came, in order, until it may let go."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.errors import ProtocolBroken
from agents.wal import read_spool
from agents.wal.spool import (
    EDGE_BYTES,
    SpoolBusy,
    Stretch,
    begin_stretch,
    current_stretch,
    forget_empty,
    locked,
    stretches,
)
from tests.agents.wal.logs import SEGMENT, at, make_log, tick


@pytest.fixture
def stretch(tmp_path: Path) -> Stretch:
    return begin_stretch(tmp_path / "spool", "7", 1, SEGMENT, 4 * SEGMENT)


def fill(stretch: Stretch, start: int, end: int) -> bytes:
    """Append log from `start` to `end`, a segment at a time, with a tick at the end of each."""
    data = make_log(start, end - start)
    position = start
    while position < end:
        size = min(SEGMENT - position % SEGMENT, end - position)
        stretch.append(position, data[position - start : position - start + size])
        position += size
        stretch.note(tick(position / SEGMENT, position))
    return data


def test_what_was_appended_is_found_again_after_a_start(tmp_path: Path, stretch: Stretch) -> None:
    data = fill(stretch, 4 * SEGMENT, 6 * SEGMENT + 1000)
    again = current_stretch(tmp_path / "spool")
    assert again == stretch and again.end() == 6 * SEGMENT + 1000
    assert again.last_bytes() == data[2 * SEGMENT :][-EDGE_BYTES:]
    (piece,) = read_spool(tmp_path / "spool")
    assert (piece.start, piece.end) == (4 * SEGMENT, 6 * SEGMENT + 1000)
    assert piece.until is not None and piece.until.lsn == piece.end
    assert [file.name for _, file in stretch.segments()] == [
        f"0000000100000000{number:08X}" for number in (4, 5, 6)
    ]


def test_what_does_not_continue_is_refused(stretch: Stretch) -> None:
    fill(stretch, 4 * SEGMENT, 4 * SEGMENT + 1000)
    for position in (4 * SEGMENT + 999, 4 * SEGMENT + 1001):
        with pytest.raises(ProtocolBroken):
            stretch.append(position, b"log")


def test_full_segments_leave_and_their_end_is_remembered(tmp_path: Path, stretch: Stretch) -> None:
    data = fill(stretch, 4 * SEGMENT, 6 * SEGMENT)
    stretch.leave(6 * SEGMENT)
    assert stretch.segments() == [] and stretch.end() == 6 * SEGMENT
    assert stretch.last_bytes() == data[-EDGE_BYTES:]
    (piece,) = read_spool(tmp_path / "spool")
    assert piece.start == piece.end == 6 * SEGMENT, "the last tick lies behind the last full segment"
    fill(stretch, 6 * SEGMENT, 6 * SEGMENT + 500)
    assert stretch.end() == 6 * SEGMENT + 500


def test_a_kill_while_segments_leave_makes_no_piece_that_overlaps(stretch: Stretch, tmp_path: Path) -> None:
    fill(stretch, 4 * SEGMENT, 7 * SEGMENT + 10)
    kept = {file: file.read_bytes() for _, file in stretch.segments()[:2]}
    stretch.leave(6 * SEGMENT)
    for file, content in kept.items():  # as if it had been killed before they were removed
        file.write_bytes(content)
    (piece,) = read_spool(tmp_path / "spool")
    assert piece.start == 6 * SEGMENT
    stretch.leave(6 * SEGMENT)
    assert not any(file.exists() for file in kept)
    assert stretch.end() == 7 * SEGMENT + 10


def test_ticks_stand_with_the_segment_in_which_they_lie(stretch: Stretch) -> None:
    fill(stretch, 4 * SEGMENT, 5 * SEGMENT + 10)
    full = stretch.piece(full_only=True)
    assert full is not None and full.end == 5 * SEGMENT
    stretch.note(tick(60, 5 * SEGMENT + 10))
    stretch.note(tick(61, 5 * SEGMENT + 10))
    piece = stretch.piece()
    assert piece is not None and piece.until is not None and piece.until.at == at(61)


def test_stretches_that_ended_are_forgotten_once_they_are_empty(tmp_path: Path, stretch: Stretch) -> None:
    spool = tmp_path / "spool"
    fill(stretch, 4 * SEGMENT, 5 * SEGMENT)
    younger = begin_stretch(spool, "7", 2, SEGMENT, 9 * SEGMENT)
    forget_empty(spool)
    assert {each.name for each in stretches(spool)} == {stretch.name, younger.name}
    stretch.leave(5 * SEGMENT)
    forget_empty(spool)
    assert [each.name for each in stretches(spool)] == [younger.name]
    assert current_stretch(spool) == younger


def test_one_stream_writes(tmp_path: Path) -> None:
    with locked(tmp_path, "stream"), pytest.raises(SpoolBusy), locked(tmp_path, "stream"):
        pass
    with locked(tmp_path, "stream"):
        pass
