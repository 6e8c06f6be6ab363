"""No snapshot: the files are read while they may change. Always possible, never called consistent."""

from __future__ import annotations

from collections.abc import Sequence

from agents.binds import Bind
from agents.events import Consistency
from agents.facts import DeviceFacts
from agents.snapshots.contract import Claim, Owes, Refusal, Shot, SnapshotProvider


class Live(SnapshotProvider):
    name = "live"
    label = "live files"

    def can_take(self, path: str, facts: DeviceFacts) -> Claim | Refusal:
        return Claim(
            Consistency.NONE,
            f"{path} is read live: files that change meanwhile are listed, and nothing ties them together",
            remedy="Move it to a file system with snapshots (btrfs), or plan a cold backup.",
        )

    def units(self, path: str, facts: DeviceFacts) -> tuple[str, ...]:
        return ()

    def prepare(self, runner: Owes, paths: Sequence[str], facts: DeviceFacts, *, number: int = 0) -> Shot:
        # read-only over itself: what reads it cannot write it
        return Shot(self.name, Consistency.NONE, "", tuple(Bind(path, path) for path in paths))
