"""Trees that restore points hold, said in a few words, and their way into an index without a repository."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from agents.commands import to_bytes
from agents.restic.walking import Head, Walked
from backupsite.fleet.models import Device
from backupsite.recovery.index.adding import add
from backupsite.recovery.models import RestorePoint
from tests.backupsite.making import make_point

# Path of a file -> its size and when it was changed, in milliseconds.
Tree = Mapping[str, tuple[int, int]]


def walk_tree(tree: Tree) -> Iterator[Walked]:
    """Yield the nodes of a tree as restic does: folders before what is in them, names by their bytes."""
    files = {to_bytes(path): found for path, found in tree.items()}
    yield from _walk_folder(b"", files)


def _walk_folder(folder: bytes, files: dict[bytes, tuple[int, int]]) -> Iterator[Walked]:
    inside = {path: found for path, found in files.items() if path.startswith(folder + b"/")}
    names = {path[len(folder) + 1 :].split(b"/")[0] for path in inside}
    for name in sorted(names - {b""}):
        path = folder + b"/" + name
        if path in inside:
            yield Walked(folder or b"/", name, "file", *inside[path])
        else:
            yield Walked(folder or b"/", name, "dir", 0, 0)
            yield from _walk_folder(path, inside)


class Trees:
    """Restore points of a device whose trees are known, and how many of their listings were read."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.trees: dict[str, Tree] = {}
        self.walks = 0
        self._at = timezone.now() - timedelta(days=30)

    def make(self, tree: Tree, **fields: Any) -> RestorePoint:
        """A restore point of this tree, an hour after the one before. It is not in the index yet."""
        self._at += timedelta(hours=1)
        point = make_point(self.device, None, fields.pop("made_at", self._at), **fields)
        self.trees[point.restic_id] = tree
        return point

    def add(self, tree: Tree, **fields: Any) -> RestorePoint:
        """A restore point of this tree which is in the index."""
        point = self.make(tree, **fields)
        add(point, walk=self.walk)
        return point

    @contextmanager
    def walk(self, point: RestorePoint) -> Iterator[tuple[Head, Iterator[Walked]]]:
        """What stands for the repository."""
        self.walks += 1
        tree = self.trees[point.restic_id]
        yield Head(point.restic_id, str(hash(frozenset(tree.items())))), walk_tree(tree)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
