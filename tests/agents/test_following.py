"""What is made of a restic on a device that lies, talks without end, or is silent while it compares."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents import following
from agents.backup import Point, _read_back
from agents.errors import ProtocolBroken, RepositoryBroken, ResticFailed
from agents.events import Consistency, Event, FileProblem
from agents.flow import Unstoppable
from agents.following import Followed, Follower
from agents.restic.fields import Fields
from agents.restic.messages import only_restore
from agents.restic.repository import SnapshotInfo, parse_snapshot
from agents.storing import _CHANGED_SCRIPT
from tests.agents.gateway_ground import Ground, ground

__all__ = ["ground"]

SUMMARY: dict[str, object] = {
    "message_type": "summary",
    "snapshot_id": "a" * 64,
    "total_files": 1,
    "files_restored": 1,
}
PROBLEM: dict[str, object] = {
    "message_type": "error",
    "item": "/" + "x" * 1000,
    "error": {"message": "unreadable"},
}


class Restic:
    """A process that says these things; None is silence."""

    def __init__(self, *said: dict[str, object] | None, status: int = 0) -> None:
        self._said: Iterator[dict[str, object] | None] = iter(said)
        self._status = status
        self.stderr_tail = b""

    def read(self, *, timeout_s: float) -> bytes:
        for message in self._said:
            if message is None:
                raise TimeoutError
            return json.dumps(message).encode() + b"\n"
        return b""

    def wait(self, *, timeout_s: float) -> int:
        return self._status

    def close(self) -> None:
        return


def follow(ground: Ground, what: str, restic: Restic, events: list[Event] | None = None) -> Followed:
    told = [] if events is None else events
    follower = Follower(told.append, Unstoppable(), ground.gateway())
    return follower.follow(what, restic, lambda: None)  # type: ignore[arg-type]  # what it uses of a process


def test_a_second_summary_is_refused_at_once(ground: Ground) -> None:
    for what in ("backup", "restore"):
        with pytest.raises(ProtocolBroken):
            follow(ground, what, Restic(SUMMARY, SUMMARY))


def test_problems_are_told_and_counted_but_not_kept(ground: Ground) -> None:
    events: list[Event] = []
    followed = follow(ground, "backup", Restic(*[PROBLEM] * 50, SUMMARY, status=3), events)
    assert followed.problem_count == 50
    assert sum(isinstance(event, FileProblem) for event in events) == 50
    assert not any(isinstance(getattr(followed, name), list) and len(getattr(followed, name)) > 1
                   for name in Followed.__dataclass_fields__)  # fmt: skip


def test_a_restore_may_compare_without_a_word(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_SILENCE_S", 2.0)
    assert follow(ground, "restore", Restic(SUMMARY, *[None] * 10)).restores
    with pytest.raises(ProtocolBroken, match="said nothing"):
        follow(ground, "restore", Restic(*[None] * 10, SUMMARY))


@pytest.mark.parametrize("status", [130, 143])
def test_a_restic_that_somebody_stopped_is_a_failure_that_is_told(ground: Ground, status: int) -> None:
    with pytest.raises(ResticFailed) as caught:
        follow(ground, "backup", Restic(status=status))
    assert caught.value.retryable


@pytest.mark.parametrize(
    "summary", [None, {"message_type": "summary", "total_bytes": 10**30}], ids=["nothing", "nonsense"]
)
def test_a_restore_that_does_not_say_what_it_did_is_no_success(
    ground: Ground, summary: dict[str, object] | None
) -> None:
    with pytest.raises(ProtocolBroken):
        only_restore(follow(ground, "restore", Restic(*([summary] if summary else []))).restores)


class OldPoint:
    """A repository with one restore point, made by the run "old"."""

    def read_back(self, snapshot_id: str) -> SnapshotInfo:
        record = {"id": snapshot_id, "tree": "b" * 64, "paths": ["/srv"], "tags": ["hotfleet-run=old"]}
        return parse_snapshot(Fields({**record, "summary": {"total_files_processed": 3}}, "restore point"))


def test_a_restore_point_of_an_earlier_run_is_not_taken_for_a_new_one() -> None:
    point = Point("/srv", "", "", ("/srv",), "a" * 64, "live", Consistency.NONE, 1, 3, 0, 0, True)
    events: list[Event] = []
    _read_back(OldPoint(), point, "old", events.append)  # type: ignore[arg-type]  # what it uses of it
    with pytest.raises(RepositoryBroken):
        _read_back(OldPoint(), point, "new", events.append)  # type: ignore[arg-type]  # the same


def test_problems_that_are_not_listed_any_more_are_counted(ground: Ground) -> None:
    status: dict[str, object] = {"message_type": "status", "error_count": 5000}
    followed = follow(ground, "backup", Restic(status, PROBLEM, SUMMARY, status=3))
    assert followed.problem_count == 5000


@pytest.mark.parametrize("kind", ["gnu", "busybox", "none"])
def test_files_that_changed_are_found_by_any_find(tmp_path: Path, kind: str) -> None:
    programs, source, older = tmp_path / "bin", tmp_path / "source", tmp_path / "older"
    programs.mkdir()
    (programs / "head").symlink_to("/usr/bin/head")
    if kind != "none":
        (programs / "find").symlink_to({"gnu": "/usr/bin/find", "busybox": "/bin/busybox"}[kind])
    source.mkdir()
    (source / "before").touch()
    older.touch()
    time.sleep(1.1 if kind == "busybox" else 0.05)  # busybox compares whole seconds
    (source / "after").touch()
    words = ["/bin/sh", "-c", _CHANGED_SCRIPT, "sh", str(source), str(older), "1000"]
    said = subprocess.run(words, env={"PATH": str(programs)}, capture_output=True, check=False)
    assert (said.returncode == 0) == (kind != "none")
    assert said.stdout == (b"" if kind == "none" else os.fsencode(source / "after") + b"\0")
