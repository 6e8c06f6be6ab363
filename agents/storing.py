"""Storing what a plan takes: restic on the device reads a source, and a restore point comes out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from agents.applications import Stream
from agents.binds import Bind
from agents.commands import Command, join, to_bytes, to_text
from agents.events import Consistency, FileProblem, Level, Said, Tell
from agents.facts.mounts import is_within
from agents.flow import Control
from agents.following import Followed, Follower
from agents.plan import PlannedSource
from agents.repositories import OpenDoor
from agents.restic import arguments
from agents.restic.arguments import Restic, exclude_lines, files_from_raw
from agents.restic.messages import BackupSummary, only_summary
from agents.restic.outcomes import Outcome
from agents.restic.patterns import make_excluded
from agents.resting import Resting
from agents.runner import Limits, Runner, SupervisedProgram
from agents.scratch import scratch_path
from agents.snapshots import providers
from agents.snapshots.contract import Taken

# The files that changed under a live walk are listed in at most so many bytes of names.
_CHANGED_BYTES = 256 * 1024
# busybox knows no -cnewer. Without a find that looks, nobody may say that nothing changed.
_CHANGED_SCRIPT = """
how=-cnewer
find / -maxdepth 0 "$how" "$2" >/dev/null 2>&1 || how=-newer
find / -maxdepth 0 "$how" "$2" >/dev/null || exit
find "$1" -xdev -type f "$how" "$2" -print0 2>/dev/null | head -c "$3"
"""
_CHECK_EVERY_S = 5.0
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Point:
    """A restore point that was made and read back.

    `source` is its key in the catalogue, `part` the name of its stream or "", `group` its consistency group
    or "". `paths` are what restic recorded. `is_complete` False: more files than the policy accepts could not
    be read, or changed while they were read live."""

    source: str
    part: str
    group: str
    paths: tuple[str, ...]
    restic_id: str
    method: str
    consistency: Consistency
    size_bytes: int
    file_count: int
    stored_bytes: int
    problem_count: int
    is_complete: bool
    proof: str = ""
    is_unchanged: bool = False


class Watch:
    """A control that looks at the snapshots too while they are read: one whose space is used up is no
    copy."""

    def __init__(self, control: Control, runner: Runner, taken: Sequence[Taken]) -> None:
        self._control = control
        self._runner = runner
        self._taken = [each for each in taken if each.keys]
        self._looked = time.monotonic()

    def raise_if_stopped(self) -> None:
        """Raise what the control raises, SnapshotBroken, and what a lost device raises."""
        self._control.raise_if_stopped()
        if time.monotonic() - self._looked >= _CHECK_EVERY_S:
            self.check()

    def is_current(self) -> bool:
        return self._control.is_current()

    def check(self) -> None:
        """Raise SnapshotBroken when a snapshot cannot be trusted any more."""
        for taken in self._taken:
            providers()[taken.method].check(self._runner, taken)
        self._looked = time.monotonic()


@dataclass(frozen=True, slots=True)
class Store:
    """What storing needs: the device, the door to the repository, and who listens."""

    runner: Runner
    restic: Restic
    door: OpenDoor
    follower: Follower
    control: Control
    tell: Tell
    host: str
    tag: str
    limits: Limits
    resting: Resting | None = None  # None: what is stored now must not be interrupted

    def store(self, number: int, source: PlannedSource, binds: Sequence[Bind]) -> Point:
        """Store the files of a source as they are shown by `binds`; `number` is its own in this run."""
        before = self.door.gateway.stored_bytes
        followed, paths_file = self._run(str(number), source, binds, self.tag)
        summary = only_summary(followed.backups)
        problems = followed.problem_count + self._list_changed(source, paths_file)
        self.follower.add(summary.total_bytes_processed, summary.total_files_processed, problems)
        stored = self.door.gateway.stored_bytes - before
        return _point(source, source.paths, "", summary, followed, problems, stored)

    def warm(self, number: int, source: PlannedSource, binds: Sequence[Bind]) -> None:
        """Store a source that moves, so that little is left to read once it stands still. Not a restore
        point."""
        followed, _ = self._run(f"{number}w", source, binds, self.tag.replace("run=", "warm=", 1))
        summary = only_summary(followed.backups)
        files = f"{summary.total_files_processed:,}"
        self.tell(Said(f"{source.key}: {files} files were read once while its services ran."))

    def store_stream(self, number: int, source: PlannedSource, stream: Stream) -> Point:
        """Store what a program prints. When it fails there is no restore point."""
        if not stream.name or "/" in stream.name or stream.name.startswith("."):
            raise ValueError(f"not the name of a stream: {stream.name!r}")
        before = self.door.gateway.stored_bytes
        line = join(("exec", "env", "-i", f"PATH={_PATH}", "HOME=/root", "LC_ALL=C", *stream.producer.argv))
        producer = self.runner.write_file(f"producer-{number}", to_bytes(line + "\n"))
        command = arguments.backup_stream(
            self.restic,
            ("/bin/sh", producer),
            name=stream.name,
            host=self.host,
            tags=[self.tag],
            limits=arguments.Limits(upload_kib_s=self.limits.upload_kib_s or 0),
        )
        self.control.raise_if_stopped()
        environment = self.door.environment
        # What prints may hold a lock of its application.
        program = self.runner.start(command, environment=environment, limits=self.limits.unpaused)
        self._tell_note(program)
        followed = self.follower.follow("backup", program, lambda: self.runner.stop(program))
        summary = only_summary(followed.backups)
        problems = followed.problem_count
        self.follower.add(summary.total_bytes_processed, summary.total_files_processed, problems)
        stored = self.door.gateway.stored_bytes - before
        return _point(source, (f"/{stream.name}",), stream.name, summary, followed, problems, stored)

    def _run(self, name: str, source: PlannedSource, binds: Sequence[Bind], tag: str) -> tuple[Followed, str]:
        paths_file = self.runner.write_file(f"paths-{name}", files_from_raw(source.paths))
        command = arguments.backup(
            self.restic,
            source.paths,
            host=self.host,
            tags=[tag],
            exclude_file=self.runner.write_file(f"excludes-{name}", exclude_lines(source.excludes)),
            paths_file=paths_file,
            limits=arguments.Limits(upload_kib_s=self.limits.upload_kib_s or 0),
        )
        self.control.raise_if_stopped()
        environment, scratch = self.door.environment, []
        if source.scratch_bytes:
            scratch = [scratch_path(self.runner.name)]
            environment = {**environment, "TMPDIR": scratch[0]}
        program = self.runner.start(
            command, environment=environment, binds=binds, scratch=scratch, limits=self.limits
        )
        self._tell_note(program)
        rest = self.resting.follow(program) if self.resting is not None else None
        return self.follower.follow("backup", program, partial(self.runner.stop, program), rest), paths_file

    def _tell_note(self, program: SupervisedProgram) -> None:
        """The device may say that it cannot keep a limit; the backup goes on."""
        if program.note:
            self.tell(Said(program.note, Level.WARNING))

    def _list_changed(self, source: PlannedSource, older_file: str) -> int:
        """Given a file that is older than restic's walk, tell which live files changed since then, without
        those that are not stored anyway."""
        count = 0
        excluded = make_excluded(source.excludes)
        for part in source.parts:
            if part.units:
                continue
            command = Command.of(
                "sh", "-c", _CHANGED_SCRIPT, "sh", part.path, older_file, str(_CHANGED_BYTES)
            )
            result = self.runner.run(command, timeout_s=3600.0)
            for path in to_text(result.stdout).split("\0")[:-1]:
                if excluded is not None and excluded.search(path):
                    continue
                self.tell(FileProblem(path, "changed while it was read"))
                count += 1
        return count


def find_binds(source: PlannedSource, snapshots: Sequence[Taken]) -> list[Bind]:
    """Return the binds that lie at or below the parts of this source, one for each true path."""
    roots = [part.path for part in source.parts]
    found = {
        bind.true_path: bind
        for taken in snapshots
        for bind in taken.binds
        if any(is_within(bind.true_path, root) for root in roots)
    }
    return list(found.values())


def _is_complete(source: PlannedSource, followed: Followed, problems: int) -> bool:
    """Only files that could not be read, or changed meanwhile, can be accepted: each was told, and counts."""
    if followed.outcome is Outcome.SUCCESS and problems == 0:
        return True
    return 0 < problems <= source.request.accepted_problems


def _point(
    source: PlannedSource,
    paths: tuple[str, ...],
    part: str,
    summary: BackupSummary,
    followed: Followed,
    problems: int,
    stored_bytes: int,
) -> Point:
    return Point(
        source=source.key,
        part=part,
        group=source.request.group,
        paths=paths,
        restic_id=summary.snapshot_id,
        method=source.method,
        consistency=source.consistency,
        size_bytes=summary.total_bytes_processed,
        file_count=summary.total_files_processed,
        stored_bytes=stored_bytes,
        problem_count=problems,
        is_complete=_is_complete(source, followed, problems),
    )
