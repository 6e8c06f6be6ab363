"""Bytes that are not the log of their place are refused."""

from __future__ import annotations

import pytest

from agents.errors import ProtocolBroken
from agents.wal.pages import check_pages
from agents.wal.words import format_lsn, make_slot_name, parse_lsn, segment_name
from tests.agents.wal.logs import PAGE, make_log

START = 0x1_2345_0000


def test_log_of_its_place_passes_wherever_it_begins() -> None:
    for start in (START, START + 1, START + PAGE - 1):
        check_pages(make_log(start, 5 * PAGE), start, 1, PAGE)
    check_pages(make_log(START, 2 * PAGE) + bytes(3 * PAGE), START, 1, PAGE)
    check_pages(make_log(START, PAGE, timeline=1), START, 2, PAGE)


@pytest.mark.parametrize("number", [0, 1, 4])
def test_a_page_of_another_position_is_refused(number: int) -> None:
    """A segment that the server uses again under another name."""
    good = make_log(START, 5 * PAGE)
    foreign = make_log(START + 16 * 2**20, PAGE)
    data = good[: number * PAGE] + foreign + good[(number + 1) * PAGE :]
    with pytest.raises(ProtocolBroken):
        check_pages(data, START, 1, PAGE)


def test_a_page_of_a_later_timeline_is_refused() -> None:
    with pytest.raises(ProtocolBroken):
        check_pages(make_log(START, PAGE, timeline=3), START, 2, PAGE)


def test_positions_are_written_as_postgresql_writes_them() -> None:
    assert parse_lsn("16/B374D848") == 0x16_B374_D848 and format_lsn(0x16_B374_D848) == "16/B374D848"
    assert segment_name(1, parse_lsn("1/2345678"), 16 * 2**20) == "000000010000000100000002"
    for text in ("", "/", "1/", "G/1", "1/123456789", "0/1\n"):
        with pytest.raises(ProtocolBroken):
            parse_lsn(text)


def test_the_name_of_a_slot_is_one_that_postgresql_takes() -> None:
    assert make_slot_name("0a1b2c3d", "d1") == "hotfleet_0a1b2c3d_d1"
    for key in ("", "a" * 60, "A", "a-b", "a'b"):
        if key:
            with pytest.raises(ValueError, match="slot"):
                make_slot_name("0a1b2c3d", key)
