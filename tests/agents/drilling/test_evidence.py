"""Answers and what they prove."""

from __future__ import annotations

import pytest

from agents.applications.trials import Comparison, Question
from agents.drilling.cage import user_of
from agents.drilling.evidence import Check, Evidence


@pytest.mark.parametrize(
    ("answer", "comparison", "value", "holds"),
    [
        ("5\n", ">", "0", True),
        ("0", ">", "0", False),
        ("", ">", "0", False),
        ("many", ">", "0", False),
        ("5\n6", ">", "0", False),
        ("10", ">", "9", True),
        ("2.50", "=", "2.5", True),
        ("a b", "=", " a b ", True),
        ("a", "=", "b", False),
        ("", "=", "", True),
        ("3", "<=", "3", True),
        ("3", "<", "3", False),
        ("3", ">=", "3", True),
        ("NaN", ">", "0", False),
        ("NaN", "=", "NaN", False),
        ("Infinity", ">", "0", True),
        ("all is well", "contains", "well", True),
        ("all is lost", "contains", "well", False),
        ("sNaN", "<", "1", False),
    ],
)
def test_an_answer_holds_or_not(answer: str, comparison: Comparison, value: str, holds: bool) -> None:
    assert Question("q", comparison, value).holds(answer) is holds


def test_evidence_without_a_check_proves_nothing() -> None:
    good, bad = Check("a", True, "", 0), Check("b", False, "", 0)
    assert not Evidence((), 1, 1, 0, 0, 0).is_passed
    assert Evidence((good,), 1, 1, 0, 0, 0).is_passed
    assert Evidence((good, bad), 1, 1, 0, 0, 0).failures == (bad,)


def test_a_throw_away_user_is_nobody_else() -> None:
    users = {user_of(f"{number:032x}") for number in range(1000)}
    assert len(users) > 990
    assert 1_900_000_000 <= min(users) <= max(users) < 2**31 - 1
