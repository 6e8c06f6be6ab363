"""What a moment believes of a device, and when it lets the device force an end."""

from __future__ import annotations

import pytest

from agents.applications import Quiesce
from agents.commands import Command, Result
from agents.errors import ProtocolBroken
from agents.events import Event, Said
from agents.moments import _Hold, _parse
from agents.runner import Runner


def said(text: str) -> Result:
    return Result(Command.of("sh"), 0, text.encode(), b"")


@pytest.mark.parametrize(
    "line",
    [
        "step hold 2 0 1 2",  # nobody asked for a third one
        "step take 0 0 1 2",
        "step jump 0 0 1 2",
        "step hold -1 0 1 2",
        "step hold 0 0 1",
        "step hold 0 0 1 2 3",
        f"step hold 0 0 1 {'9' * 5000}",
        "step hold ٣ 0 1 2",
        "step",
    ],
)
def test_a_step_that_nobody_asked_for_is_not_believed(line: str) -> None:
    with pytest.raises(ProtocolBroken):
        _parse(said(f"{line}\n"), lambda event: None, holds=2, shots=0)


def test_steps_and_notes_are_read_among_other_output() -> None:
    told: list[Event] = []
    text = "anything\nstep hold 1 0 5 9\nnote it waits\nstep release 1 3 10 11\n"
    steps = _parse(said(text), told.append, holds=2)
    assert [(step.verb, step.number, step.status) for step in steps] == [("hold", 1, 0), ("release", 1, 3)]
    assert told == [Said("it waits")]


@pytest.mark.parametrize("limit_ms", [1, 999, 1000, 1001, 2500, 10_000])
def test_the_device_never_forces_an_end_before_the_limit(
    limit_ms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It counts the uptime in whole seconds: one that began a moment ago is over at once."""
    owed: list[float] = []
    runner = Runner.__new__(Runner)
    runner.directory = "/run/hotfleet/hotfleet-c-r"
    monkeypatch.setattr(Runner, "owe", lambda self, key, undo, *, within_s: owed.append(within_s))
    _Hold(runner, Quiesce("one", ":", ":", ":"), "0-0").owe(limit_ms)
    seconds = max(1, round(owed[0]))  # as the runner sends it
    assert seconds - 1 >= limit_ms / 1000
    assert seconds <= limit_ms / 1000 + 2
