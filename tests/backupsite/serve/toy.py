"""A supervisor with toy programs, run as a process of its own by test_supervisor.py.

`python -m tests.backupsite.serve.toy CASE DIRECTORY`: programs write what happens to DIRECTORY/events.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from backupsite.serve.supervisor import GivenUpError, Program, StopRequested, Supervisor

DIRECTORY = Path(sys.argv[2])


def note(text: str) -> None:
    with (DIRECTORY / "events").open("a") as file:
        file.write(text + "\n")


def stays(name: str, *, deaf: bool = False) -> Callable[[], None]:
    def main() -> None:
        def end(*_: object) -> None:
            note(f"{name} stops")
            os._exit(0)

        signal.signal(signal.SIGTERM, signal.SIG_IGN if deaf else end)
        note(f"{name} {os.getpid()} starts")
        if os.fork() == 0:
            note(f"{name}-grandchild {os.getpid()} starts")
        while True:
            time.sleep(3600)

    return main


def ends(text: str) -> Callable[[], None]:
    def main() -> None:
        note("starts")
        print(text)
        raise SystemExit(3)

    return main


def is_noted(text: str) -> Callable[[], bool]:
    return lambda: text in (DIRECTORY / "events").read_text()


CASES: dict[str, list[Program]] = {
    "ordered": [
        Program("store", stays("store"), stage=1, is_ready=is_noted("store")),
        Program("left", stays("left"), stage=2, is_ready=is_noted("left")),
        Program("right", stays("right"), stage=2, is_ready=is_noted("right")),
        Program("clock", stays("clock"), stage=3, is_ready=is_noted("clock")),
    ],
    "deaf": [Program("deaf", stays("deaf", deaf=True), stage=1, is_ready=is_noted("deaf"), stop_after_s=60)],
    "slow": [Program("deaf", stays("deaf", deaf=True), stage=1, is_ready=is_noted("deaf"), stop_after_s=0.5)],
    "fails": [Program("fails", ends("cannot open the thing"), stage=1)],
    "talkative": [Program("talker", ends("the last words"), stage=1, is_talkative=True)],
    "unready": [Program("never", stays("never"), stage=1, is_ready=lambda: False, ready_within_s=0.5)],
    "rude": [Program("rude", ends("\x1b[2J wiped \x00\r"), stage=1, is_ready=lambda: False)],
    "dies": [Program("dies", ends("gone before ready"), stage=1, is_ready=lambda: False)],
    "step": [],
}


def main() -> int:
    (DIRECTORY / "events").touch()
    supervisor = Supervisor(lambda who, text: print(f"{who} | {text}", flush=True))
    try:
        if sys.argv[1] == "step":
            supervisor.finish("step", ends("the step says why"))
        for program in CASES[sys.argv[1]]:
            supervisor.start(program)
        print("all started", flush=True)
        supervisor.watch()
    except StopRequested:
        pass
    except GivenUpError as error:
        print(f"gave up: {error}", flush=True)
        return 1
    finally:
        supervisor.stop()
        print("all stopped", flush=True)
    return 0


sys.exit(main())
