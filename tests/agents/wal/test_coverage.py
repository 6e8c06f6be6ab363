"""Which moments can be reached, and by which pieces."""

from __future__ import annotations

from dataclasses import replace

from agents.wal import base_for, coverage
from agents.wal.coverage import chains, log_between
from tests.agents.wal.logs import SEGMENT, at, base, piece, tick

A, B, C = piece(0, 3, 10, 30), piece(3, 5, 31, 50), piece(5, 5.5, 51, 70)


def test_moments_begin_with_the_end_of_a_base_and_end_with_the_last_tick() -> None:
    (window,) = coverage([base(12, 15), base(32, 40)], [C, A, B])
    assert (window.since, window.until) == (at(15), at(70))


def test_a_base_that_began_before_the_log_reaches_nothing() -> None:
    assert coverage([base(8, 15)], [A, B]) == ()
    assert coverage([], [A, B]) == ()


def test_a_base_that_ended_after_the_log_reaches_nothing_yet() -> None:
    assert coverage([base(60, 80)], [A, B, C]) == ()


def test_a_gap_breaks_the_window() -> None:
    windows = coverage([base(12, 15), base(55, 60)], [A, C])
    assert [(each.since, each.until) for each in windows] == [(at(15), at(30)), (at(60), at(70))]


def test_the_log_after_a_comeback_does_not_continue_the_one_before() -> None:
    after = replace(B, stretch="b")
    assert [each.until for each in coverage([base(12, 15)], [A, after])] == [at(30)]
    assert base_for(at(40), coverage([base(12, 15)], [A, after]), [A, after]) is None


def test_the_newest_base_before_the_moment_is_taken() -> None:
    older, younger = base(12, 15, "older"), base(32, 40, "younger")
    pieces = [A, B, C]
    windows = coverage([older, younger], pieces)
    assert base_for(at(39), windows, pieces) == older, "the younger one was not whole then"
    assert base_for(at(41), windows, pieces) == younger
    assert base_for(at(14), windows, pieces) is None and base_for(at(71), windows, pieces) is None


def test_moments_are_of_the_servers_clock_and_bases_of_the_consoles() -> None:
    ahead = [piece(0, 3, 10, 30, skew=100), piece(3, 5, 31, 50, skew=100)]
    (window,) = coverage([base(12, 15)], ahead)
    assert (window.since, window.until) == (at(115), at(150))
    assert base_for(at(114), [window], ahead) is None
    assert base_for(at(116), [window], ahead) == base(12, 15)
    assert log_between(base(12, 15), at(116), ahead) == (ahead[0],)


def test_only_the_log_from_the_base_to_the_moment_is_fetched() -> None:
    late = base(34, 36)
    assert log_between(late, at(45), [A, B, C]) == (B,)
    assert log_between(late, at(60), [A, B, C]) == (B, C)
    assert log_between(base(12, 15), None, [A, B, C]) == (A, B, C)
    assert log_between(late, at(90), [A, B, C]) == ()


def test_what_was_in_flight_when_a_piece_ended_is_fetched_with_the_next() -> None:
    # between the last tick of A (30) and the first of B (31) nobody knows in which of them a commit is
    assert log_between(base(12, 15), at(30.5), [A, B]) == (A, B)
    assert log_between(base(30.5, 30.8), at(40), [A, B]) == (A, B)


def test_log_that_was_stored_twice_counts_once() -> None:
    again = piece(0, 5, 10, 50)
    assert chains([A, again, C]) == [(again, C)]
    tail, longer = piece(5, 5.2, 51, 60), piece(5, 8, 51, 90)
    assert chains([A, B, tail, longer]) == [(A, B, longer)]
    assert chains([A, B, tail]) == [(A, B, tail)]


def test_a_tail_that_went_beyond_a_later_batch_is_not_mixed_with_it() -> None:
    """It was stored for a comeback; then the batch of its full segments, and the next one."""
    tail, batch, following = piece(3, 5.5, 31, 60), piece(3, 5, 31, 50), piece(5, 8, 51, 90)
    assert chains([A, tail, batch, following]) == [(A, batch, following)]
    assert chains([A, tail, batch]) == [(A, tail)]


def test_an_idle_server_moves_the_end_with_an_empty_piece() -> None:
    idle = replace(piece(5, 5, 51, 300), since=tick(300, 5 * SEGMENT))
    (window,) = coverage([base(12, 15)], [A, B, idle])
    assert window.until == at(300)
