from __future__ import annotations

import pytest

from backupsite.policies.models import Source
from backupsite.policies.windows import first_window, lacks_window, may_wait, needs_window, own_window


def sources(*modes: str) -> list[Source]:
    """ "wait" is a hot source that waits when hot is impossible."""
    return [
        Source(path=f"/{n}", mode="hot" if mode == "wait" else mode, if_hot_impossible="wait")
        if mode == "wait"
        else Source(path=f"/{n}", mode=mode)
        for n, mode in enumerate(modes)
    ]


@pytest.mark.parametrize(
    ("modes", "own", "own_beside_window", "lacks", "by_hand"),
    [
        (("hot",), "hot", "hot", False, "hot"),
        (("hot", "cold"), "hot", "hot", True, "hot"),
        (("both",), "hot", "hot", True, "hot"),
        (("wait",), "hot", "hot", True, "hot"),
        (("cold", "cold"), "cold", None, False, "cold"),
        (("cold", "out"), "cold", None, False, "cold"),
        (("out", "out"), None, None, False, "hot"),
        ((), None, None, False, "hot"),
    ],
)
def test_what_the_schedule_starts(
    modes: tuple[str, ...], own: str | None, own_beside_window: str | None, lacks: bool, by_hand: str
) -> None:
    listed = sources(*modes)
    assert own_window(listed, has_window=False) == own
    assert own_window(listed, has_window=True) == own_beside_window
    assert lacks_window(listed) is lacks
    assert first_window(listed) == by_hand


def test_only_what_is_hot_and_told_to_waits() -> None:
    assert [may_wait(source) for source in sources("wait", "hot", "cold", "out")] == [
        True,
        False,
        False,
        False,
    ]
    assert not needs_window(Source(mode="out", if_hot_impossible="wait"))
    assert not may_wait(Source(mode="both", if_hot_impossible="wait")), "it is copied cold anyway"
