"""A console that backs up a btrfs source step by step, and can be killed or stopped at each step.

Words: shell, console id, run id, source, silence in seconds. It prints "step <name>" and waits for a line."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from agents.commands import Command
from agents.errors import AgentError
from agents.facts import read_facts
from agents.moments import take_moment
from agents.plan import SourceRequest, make_plan
from agents.runner import Runner
from agents.snapshots import providers
from tests.live.shells import ShellSession


def pause(name: str) -> None:
    print("step", name, flush=True)
    sys.stdin.readline()


class PausingRunner(Runner):
    """Stops before and after each thing that changes the device."""

    def owe(self, key: str, undo: Command, *, within_s: float | None = None) -> None:
        super().owe(key, undo, within_s=within_s)
        pause("owed")

    def settle(self, key: str) -> None:
        pause("ended")
        super().settle(key)


def work(shell: str, console_id: str, run_id: str, source: str, silence_s: float) -> None:
    session = ShellSession(shell)
    with PausingRunner(
        session,
        console_id=console_id,
        run_id=run_id,
        tell=lambda event: None,
        silence_s=silence_s,
        heartbeat_s=0.5,
    ) as runner:
        pause("ready")
        facts = read_facts(runner, [source])
        plan = make_plan(facts, [SourceRequest(source)])
        (moment,) = plan.moments
        (taken,) = take_moment(runner, moment, 0, facts, moment.limit_ms, lambda event: None)
        pause("taken")
        program = runner.start(
            Command.of("sh", "-c", 'cat "$1/file"; sleep 300', "long", source),
            environment={},
            binds=taken.binds,
        )
        pause("started")
        runner.stop(program)
        providers()[taken.method].drop(runner, taken)
        pause("dropped")


def main(words: Sequence[str]) -> None:
    shell, console_id, run_id, source, silence = words
    try:
        work(shell, console_id, run_id, source, float(silence))
    except AgentError as error:
        print("failed", error.code, error.message, flush=True)
    else:
        print("finished", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
