"""A small real repository with three snapshots that share some data, and what maintenance needs around it."""

from __future__ import annotations

import os
import random
import threading
from dataclasses import dataclass, field
from pathlib import Path

from agents.errors import Cancelled
from agents.events import Event
from agents.maintaining.words import CheckOutcome, Expected
from agents.maintenance import CheckRequest, check
from agents.repositories import RepositoryPlace
from agents.restic.binary import Binary
from agents.restic.repository import open_repository
from tests.agents.gateway_ground import PASSWORD

DAY_S = 86_400.0
BEGAN_S = 1_800_000_000.0


@dataclass
class Patient:
    """A control that gives way, or is cancelled, after it was asked so often."""

    gives_way_after: int = 1_000_000
    stops_after: int = 1_000_000
    asked: int = 0
    stops: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def raise_if_stopped(self) -> None:
        with self.lock:
            self.stops += 1
            if self.stops > self.stops_after:
                raise Cancelled("The run was cancelled.")

    def is_current(self) -> bool:
        return True

    def must_give_way(self) -> bool:
        self.asked += 1
        return self.asked > self.gives_way_after


@dataclass
class Ground:
    """`first` holds `a`, `both` holds `a` and `b`, `last` only `b` and `c`."""

    place: RepositoryPlace
    binary: Binary
    first: str
    both: str
    last: str
    told: list[Event] = field(default_factory=list)

    @property
    def ids(self) -> frozenset[str]:
        return frozenset((self.first, self.both, self.last))

    def check(
        self,
        *,
        at: float = BEGAN_S,
        ids: frozenset[str] | None = None,
        control: Patient | None = None,
        everything: bool = False,
        restic_id: str = "",
    ) -> CheckOutcome:
        expected = Expected(self.ids if ids is None else ids, restic_id)
        request = CheckRequest(self.place, self.binary, expected, everything=everything)
        return check(request, tell=self.told.append, control=control or Patient(), now=lambda: at)

    def files(self) -> list[Path]:
        """Every file of the repository that restic wrote, but the locks."""
        path = self.place.path
        found = [path / "config", *(path / "keys").iterdir(), *(path / "index").iterdir()]
        return sorted([*found, *(path / "snapshots").iterdir(), *(path / "data").glob("*/*")])

    def packs_of_files(self) -> list[Path]:
        """The packs that hold the data of files; the others hold folders."""
        return [each for each in (self.place.path / "data").glob("*/*") if each.stat().st_size > 50_000]


def make_ground(repository_path: Path, binary: Binary, source: Path) -> Ground:
    """Given an empty repository, store three snapshots of files below `source`."""
    source.mkdir()
    chance = random.Random(5)
    sizes = {"a": 300_000, "b": 200_000, "c": 100_000}
    for name, size in sizes.items():
        (source / name).write_bytes(chance.randbytes(size))
    ids: list[str] = []
    with open_repository(repository_path, PASSWORD, binary) as repository:
        for names in ("a", "ab", "bc"):
            paths = [str(source / name) for name in names]
            ids.append(repository.store(paths, host="ground", tags=["run=1"]))
    return open_ground(repository_path, binary, ids)


def open_ground(repository_path: Path, binary: Binary, ids: list[str]) -> Ground:
    """Given a repository that `make_ground` made, or a copy of it, return it."""
    first, both, last = ids
    journals = Path(f"{repository_path}.journals")
    return Ground(RepositoryPlace(repository_path, journals, PASSWORD), binary, first, both, last)


def flip(path: Path, at: float = 0.5) -> None:
    """Turn one bit of a file around, as a disk does that rots: `at` is where, from 0 to 1."""
    os.chmod(path, 0o600)
    content = bytearray(path.read_bytes())
    content[min(int(len(content) * at), len(content) - 1)] ^= 4
    path.write_bytes(content)
