"""Restoring into stagings and preparing there: long programs, which a person may stop."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass, field

from agents.applications.comebacks import Course, Fetch, Preparation
from agents.commands import Command, to_text
from agents.errors import CommandFailed
from agents.events import Level, Said, Tell
from agents.flow import Control
from agents.following import Follower
from agents.repositories import OpenDoor
from agents.restic import arguments
from agents.restic.arguments import Restic
from agents.restic.messages import only_restore
from agents.restic.outcomes import Outcome
from agents.restoring.requests import GENTLE
from agents.returning.staging import ENTER, Staging
from agents.runner import Runner

# No application keeps programs with privileges or devices in its data: what holds some is somebody's trap.
_STRIP = f"""{ENTER}
find new raw -xdev -type f -perm /6000 -exec chmod u-s,g-s {{}} + &&
  find new raw -xdev \\( -type b -o -type c \\) -exec rm -f {{}} +
"""
_MOST_SAID_BYTES = 64 * 1024
_MOST_NOTES = 30
_POLL_S = 1.0


@dataclass(slots=True)
class Fetcher:
    """What fetching needs: the device, the door to the repository, and who listens."""

    runner: Runner
    restic: Restic
    door: OpenDoor
    tell: Tell
    control: Control
    files: int = 0
    bytes: int = 0
    _follower: Follower = field(init=False)

    def __post_init__(self) -> None:
        self._follower = Follower(self.tell, self.control, self.door.gateway)

    def fetch_all(self, course: Course, stagings: Sequence[Staging]) -> None:
        """Restore everything, each file compared with the restore point. Raise CommandFailed when one is not
        whole: half of a database is none."""
        for fetch in course.fetches:
            self.fetch(fetch, stagings[fetch.seat].path)
        for staging in stagings:
            self.runner.run(Command.of("/bin/sh", "-c", _STRIP, "hotfleet", staging.path), timeout_s=3600)

    def fetch(self, fetch: Fetch, staging: str) -> None:
        """Restore one thing into a staging. Raise as `fetch_all`."""
        folder, name = posixpath.split(fetch.path)
        # By the link of the process to its own directory: no path leads through a folder of others.
        target = f"/proc/self/cwd/{'raw' if fetch.is_raw else 'new'}"
        command = arguments.restore(
            self.restic,
            fetch.part.restic_id,
            target,
            folder=folder,
            names=(name, *fetch.more),
            verify=True,
            sparse=True,
        )
        words = ("/bin/sh", "-c", f'{ENTER}\nshift\nexec "$@"', "hotfleet", staging, *command.argv)
        self.control.raise_if_stopped()
        program = self.runner.start(Command.of(*words), environment=self.door.environment, limits=GENTLE)
        followed = self._follower.follow("restore", program, lambda: self.runner.stop(program))
        summary = only_restore(followed.restores)
        if followed.outcome is not Outcome.SUCCESS or not summary.files_restored or summary.files_skipped:
            raise CommandFailed(
                f"{fetch.path} did not come back whole: {followed.problem_count} problems. "
                "Nothing was replaced."
            )
        self.files += summary.files_restored
        self.bytes += summary.bytes_restored
        self._follower.add(summary.bytes_restored, summary.files_restored, 0)


def prepare_all(
    runner: Runner, course: Course, stagings: Sequence[Staging], tell: Tell, control: Control
) -> None:
    """Run each preparation in its staging. Raise CommandFailed with its own words when one fails."""
    for preparation in course.preparations:
        control.raise_if_stopped()
        tell(Said(f"{preparation.label}."))
        run_long(runner, preparation, stagings[preparation.seat].path, tell, control)


def run_long(runner: Runner, preparation: Preparation, staging: str, tell: Tell, control: Control) -> None:
    """Run one shell source in a staging, where a person may stop it."""
    script = f"{ENTER}\nshift\n{preparation.source}"
    words = ("/bin/sh", "-c", script, "hotfleet", staging, *preparation.words)
    program = runner.start(Command.of(*words), environment={}, limits=GENTLE)
    said, waited_s = b"", 0.0
    try:
        while True:
            control.raise_if_stopped()
            try:
                data = program.read(timeout_s=_POLL_S)
            except TimeoutError:
                waited_s += _POLL_S
                if waited_s > preparation.timeout_s:
                    raise CommandFailed(f"{preparation.label} did not end in time") from None
                continue
            if not data:
                break
            said = (said + data)[-_MOST_SAID_BYTES:]
        status = program.wait(timeout_s=60)
        errors = to_text(program.stderr_tail).strip()
    finally:
        program.close()
    tell_notes(to_text(said), tell)
    if status != 0:
        last = errors.splitlines()[-1][:300] if errors else f"status {status}"
        raise CommandFailed(f"{preparation.label} failed: {last}. Nothing was replaced.", detail=errors)


def tell_notes(text: str, tell: Tell, level: Level = Level.INFO) -> None:
    """Given what a script printed, tell its notes."""
    notes = [line.removeprefix("note ") for line in text.splitlines() if line.startswith("note ")]
    for note in notes[:_MOST_NOTES]:
        tell(Said(note[:1000], level))
