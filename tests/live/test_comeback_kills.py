"""Whoever dies at whatever step of a comeback: PostgreSQL runs on the old or on the new data, and nothing of
ours is left.

By default every place inside of the one script of the swap, and six boundaries of the flow (3 minutes
on two cores); HOTFLEET_CAMPAIGN=full kills everybody at every boundary (an hour)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agents.applications.stored import Stored
from agents.errors import AgentError
from agents.returning import swapping
from tests.live.daemons import bring_back, stored_of
from tests.live.flows import Console, wait_until_clean
from tests.live.ground import wait_until
from tests.live.pgbench import assert_whole, count_writes
from tests.live.postgresql import Service
from tests.live.test_comeback_postgresql import (
    cluster,
    console,
    left_beside,
    machine,
    source,
    write_more,
)
from tests.live.test_kill_matrix import CLEAN_WITHIN_S, IS_FULL, SteppingWorker, die
from tests.live.workers import Worker

__all__ = ["cluster", "console", "machine"]
VICTIMS = ("worker", "silent worker", "runner", "sshd", "restic")
# What a comeback asks of the device from its first undo step on, up to the swap: its journal on the disk, its
# staging, the stream, what is looked at in it, three preparations, the last look before it stands still.
# Then it looks until the server answers, at least until STEPS.
BEGINNING = ["owe", "run", "run", *("start", "started"), "run", *("start", "started") * 3, "run", "run"]
STEPS = 24
# Before anything is made; while restic restores; while it is prepared; before and after the swap; until the
# server answers.
SAMPLE = ((1, "worker"), (5, "restic"), (8, "sshd"), (14, "silent worker"), (15, "runner"), (18, "worker"))

# Where a script of the swap, and the runner with it, is killed: what is written before which line.
STRIKE = """
strike() {
  [ ! -e "$hold/struck-$1" ] || return 0
  : >"$hold/struck-$1"
  struck=/run/hotfleet/${hold##*/}
  [ -d "$struck" ] || struck=/dev/shm/hotfleet/${hold##*/}
  read -r struck _ <"$struck/runner"
  kill -s KILL "$struck" "$$"
}
"""
PLACES = {
    "stopped": ("swap_all() {\n", "swap_all() {\n  strike one\n"),
    "old gone": ("swap_in() { # given a staging and its folder\n", "swap_in() {\n  strike one\n"),
    "new marked": ('    like_before "$name"\n', '    like_before "$name"\n    strike one\n'),
    "new in": ('  cd / && : >"$hold/swapped"\n', '  strike one\n  cd / && : >"$hold/swapped"\n'),
    "swapped": ('  cd / && : >"$hold/swapped"\n', '  cd / && : >"$hold/swapped"\n  strike one\n'),
}
BACK = {
    "new away": (
        '    rm -f -- "in/$name" || return 1\n',
        '    strike two\n    rm -f -- "in/$name" || return 1\n',
    ),
    "old back": (
        '  cd / || return 1\n  [ "$back_status" = 1 ]',
        '  strike two\n  cd / || return 1\n  [ "$back_status" = 1 ]',
    ),
}


class SteppingComeback(SteppingWorker):
    """A comeback in a process of its own that stands still before each step."""

    def __init__(self, console: Console, cluster: Service, stored: Stored) -> None:
        more = {
            "application": stored.application,
            "instance": stored.instance,
            "method": stored.method,
            "parts": [[each.restic_id, each.part, each.paths, each.size_bytes] for each in stored.parts],
            "paths": stored.paths,
            "services": [cluster.daemon.name],
        }
        Worker.__init__(self, console, cluster.data, module="comeback_child", more=more)


@pytest.fixture
def stored(console: Console, cluster: Service) -> Stored:
    """What a stream holds of a cluster that has written more since."""
    found, _ = stored_of(console.back_up(source(cluster, "stream")), "postgresql", str(cluster.data))
    return found


@contextmanager
def old_or_new(console: Console, cluster: Service, *, is_connected: bool = False) -> Iterator[None]:
    """Afterwards the server runs, on all of one of them, and nothing is left."""
    beside = left_beside(cluster.data)
    then = count_writes(cluster)
    now = write_more(cluster)
    yield
    wait_until(lambda: cluster.pid != 0, timeout_s=2 * CLEAN_WITHIN_S, what="a server that runs")
    wait_until_clean(
        console,
        own=lambda: family(cluster.pid),
        is_connected=is_connected,
        timeout_s=2 * CLEAN_WITHIN_S,
    )
    cluster.wait()
    assert assert_whole(cluster) in (then, now)
    assert left_beside(cluster.data) == beside
    write_more(cluster)


def family(pid: int) -> list[int]:
    """A server and its children: those that it has while this is asked."""
    try:
        listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return [pid]
    return [pid, *map(int, listed.split())]


@pytest.mark.parametrize(
    ("place", "back"),
    # the way back is the same from wherever it begins
    [*((place, "") for place in PLACES), *(("swapped", back) for back in BACK)],
)
def test_killed_inside_of_the_swap(
    console: Console,
    cluster: Service,
    stored: Stored,
    place: str,
    back: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source_text = swapping._functions()
    for before, after in [PLACES[place], *([BACK[back]] if back else [])]:
        assert source_text.count(before) == 1, before
        source_text = source_text.replace(before, after)
    monkeypatch.setattr(swapping, "_functions", lambda: STRIKE + source_text)
    with old_or_new(console, cluster), pytest.raises(AgentError):
        bring_back(console, stored, None, cluster.daemon.name)


def test_without_a_death_it_comes_back(console: Console, cluster: Service, stored: Stored) -> None:
    worker = SteppingComeback(console, cluster, stored)
    try:
        worker.go_on()
        wait_until(lambda: worker.is_over, timeout_s=180, what="the end of the comeback")
        assert worker.lines[-1] == "done"
        assert worker.steps[: len(BEGINNING)] == BEGINNING and worker.steps[-2:] == ["settle", "close"]
    finally:
        worker.close()


def cases() -> list[tuple[int, str]]:
    steps = range(1, STEPS + 1)
    if IS_FULL:
        return [(step, victim) for step in steps for victim in VICTIMS]
    return list(SAMPLE)


@pytest.mark.slow
@pytest.mark.parametrize(("step", "victim"), cases())
def test_killed_at_a_boundary(
    console: Console, cluster: Service, stored: Stored, step: int, victim: str
) -> None:
    # restic may have done its work before a slow machine lets us kill it: then it is brought back once more
    tries = 1 if IS_FULL else 3
    has_died = any(kill_at(step, victim, console, cluster, stored) for _ in range(tries))
    assert has_died or IS_FULL, f"there was no {victim} at step {step}"


def kill_at(step: int, victim: str, console: Console, cluster: Service, stored: Stored) -> bool:
    """Bring it back and kill the victim at this step. Return False when there was none."""
    worker, has_died = SteppingComeback(console, cluster, stored), False
    try:
        with old_or_new(console, cluster, is_connected=victim == "silent worker"):
            if worker.go_to(step):
                has_died = die(victim, worker, console.device)
            wait_until(
                lambda: worker.is_over or victim == "silent worker",
                timeout_s=3 * CLEAN_WITHIN_S,
                what="the end of the worker",
            )
    finally:
        worker.close()
    return has_died
