"""The supervisor with real processes: started in order, watched, stopped in order, never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.backupsite.serve.processes import is_running, list_descendants, wait_until

ROOT = Path(__file__).resolve().parents[3]


class Toy:
    def __init__(self, case: str, directory: Path) -> None:
        self.directory = directory
        self._output = directory / "output"
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.backupsite.serve.toy", case, str(directory)],
                cwd=ROOT, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip

    @property
    def events(self) -> list[str]:
        return (self.directory / "events").read_text().splitlines()

    @property
    def output(self) -> str:
        return self._output.read_text()

    def wait_for(self, text: str, within_s: float = 60) -> None:
        wait_until(lambda: text in self.output, within_s, f"{text!r} in {self.output!r}")

    def find_process(self, name: str) -> int:
        starts = [event.split() for event in self.events if event.endswith(" starts")]
        return next(int(words[1]) for words in reversed(starts) if words[0] == name)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Toy]]:
    toys: list[Toy] = []

    def start_case(case: str) -> Toy:
        toys.append(Toy(case, tmp_path))
        return toys[-1]

    yield start_case
    for toy in toys:
        if toy.process.poll() is None:
            toy.process.terminate()
            toy.process.wait(60)


def test_it_starts_in_order_and_stops_in_the_opposite_order(start: Callable[[str], Toy]) -> None:
    toy = start("ordered")
    toy.wait_for("all started")
    toy.process.send_signal(signal.SIGINT)
    assert toy.process.wait(60) == 0
    starts = [event.split()[0] for event in toy.events if event.endswith("starts") and "grand" not in event]
    stops = [event.split()[0] for event in toy.events if event.endswith("stops")]
    assert starts == ["store", "left", "right", "clock"]
    assert stops[0] == "clock" and set(stops[1:3]) == {"left", "right"} and stops[3] == "store"
    assert not any(is_running(toy.find_process(f"{name}-grandchild")) for name in starts)


def test_nothing_is_left_when_it_is_killed(start: Callable[[str], Toy]) -> None:
    toy = start("ordered")
    toy.wait_for("all started")
    family = list_descendants(toy.process.pid)
    children = {toy.find_process(name) for name in ("store", "left", "right", "clock")}
    assert children <= family
    toy.process.kill()
    toy.process.wait()
    wait_until(lambda: not any(map(is_running, children)), 60, "the programs end with the supervisor")
    for process in family - children:  # toy grandchildren, which nobody tied to their parents
        os.kill(process, signal.SIGKILL)


def test_a_program_that_was_killed_is_started_again(start: Callable[[str], Toy]) -> None:
    toy = start("ordered")
    toy.wait_for("all started")
    first = toy.find_process("left")
    os.kill(first, signal.SIGKILL)
    toy.wait_for("left | ended (signal SIGKILL); starts again in 0.5 s")
    wait_until(lambda: toy.find_process("left") != first, 60, "a second process")
    assert is_running(toy.find_process("left"))


@pytest.mark.slow
def test_it_gives_up_visibly_on_a_program_that_never_stays(start: Callable[[str], Toy]) -> None:
    toy = start("fails")
    assert toy.process.wait(60) == 1
    assert toy.events.count("starts") == 5
    assert toy.output.count("cannot open the thing") == 5
    assert "gave up: fails ended 5 times" in toy.output
    assert toy.output.endswith("all stopped\n")


@pytest.mark.slow
def test_what_a_talkative_program_said_is_shown_when_it_ends_by_itself(start: Callable[[str], Toy]) -> None:
    toy = start("talkative")
    assert toy.process.wait(60) == 1
    assert "talker | the last words" in toy.output


def test_a_program_that_never_becomes_ready_ends_the_start(start: Callable[[str], Toy]) -> None:
    toy = start("unready")
    assert toy.process.wait(60) == 1
    assert "gave up: never was not ready" in toy.output
    assert not is_running(toy.find_process("never"))


def test_a_program_that_ends_before_it_is_ready_ends_the_start(start: Callable[[str], Toy]) -> None:
    toy = start("dies")
    assert toy.process.wait(60) == 1
    assert "dies | gone before ready" in toy.output
    assert "gave up: dies ended while it started" in toy.output


def test_what_a_program_says_cannot_steer_the_terminal(start: Callable[[str], Toy]) -> None:
    toy = start("rude")
    assert toy.process.wait(60) == 1
    assert "rude | \\x1b[2J wiped \\x00\\x0d\n" in toy.output


def test_a_step_that_fails_ends_the_start_with_its_reason(start: Callable[[str], Toy]) -> None:
    toy = start("step")
    assert toy.process.wait(60) == 1
    assert "step | the step says why" in toy.output
    assert "gave up: step failed (exit code 3)" in toy.output


def test_a_program_that_ignores_term_is_killed_when_its_time_is_over(start: Callable[[str], Toy]) -> None:
    toy = start("slow")
    toy.wait_for("all started")
    toy.process.terminate()
    assert toy.process.wait(60) == 0
    assert toy.output.count("does not stop: killed") == 1
    assert not is_running(toy.find_process("deaf"))


def test_a_second_ctrl_c_does_not_wait(start: Callable[[str], Toy]) -> None:
    toy = start("deaf")
    toy.wait_for("all started")
    toy.process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    toy.process.send_signal(signal.SIGINT)
    time.sleep(1.2)
    assert toy.process.poll() is None, "two signals at once are one Ctrl-C"
    toy.process.send_signal(signal.SIGINT)
    assert toy.process.wait(60) == 0
    assert not is_running(toy.find_process("deaf"))
