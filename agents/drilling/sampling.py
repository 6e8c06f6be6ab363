"""A restore point is looked into, not restored: all of its structure is read, and some of its files.

It costs a fraction of a drill and proves less: that what is read is what was stored. restic compares each
piece with the check sum that is its name. Nobody starts an application, and a device is not needed.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Iterable, Sequence
from contextlib import closing

from agents.applications.stored import Stored
from agents.commands import to_text
from agents.drilling.evidence import Check, Evidence, FileHash
from agents.drilling.samples import LARGEST, Count, judge_count
from agents.errors import RepositoryBroken, ResticFailed
from agents.events import Level, Phase, Said, Tell
from agents.flow import Control, phase
from agents.repositories import RepositoryPlace
from agents.restic.binary import Binary
from agents.restic.repository import Repository, open_repository
from agents.restic.walking import Walked

SAMPLE = 10
_NOTES = (
    "nothing was restored or started, so no time was measured",
    f"of each file that was read, at most the first {LARGEST // 1024**2} MiB",
)


def sample_points(
    place: RepositoryPlace, binary: Binary, stored: Stored, *, tell: Tell, control: Control
) -> Evidence:
    """Read every folder of restore points, and of each some files chosen by chance; return what came out.

    Works beside whatever uses the repository. Raise RepositoryBroken when it does not open, or is gone
    meanwhile: nothing is known about the data then."""
    began = time.monotonic()
    with phase(tell, Phase.CHECK), open_repository(place.location, place.password, binary) as repository:
        look = _Look(repository, stored, tell, control)
        try:
            look.read_structure()
            look.read_files()
        except (RepositoryBroken, ResticFailed) as error:
            repository.read_id()
            look.add("read", False, f"{error.message} {error.detail}"[:4000], began)
    seconds = time.monotonic() - began
    return Evidence(
        tuple(look.checks), look.count.files, look.count.bytes, 0.0, 0.0, seconds, tuple(look.hashes), _NOTES
    )


class _Look:
    def __init__(self, repository: Repository, stored: Stored, tell: Tell, control: Control) -> None:
        self._repository = repository
        self._stored = stored
        self._tell = tell
        self._control = control
        self._chosen: list[tuple[str, Walked]] = []
        self.checks: list[Check] = []
        self.hashes: list[FileHash] = []
        self.count = Count(0, 0)

    def read_structure(self) -> None:
        """Read every node, and choose files among them. Raise ResticFailed when one cannot be read."""
        began = time.monotonic()
        ids = [part.restic_id for part in self._stored.parts]
        infos = [self._repository.read_back(each) for each in ids]
        for restic_id in ids:
            with self._repository.walk(restic_id) as (_, nodes):
                self._chosen += [(restic_id, node) for node in self._choose(nodes)]
        is_good, said = judge_count(infos, self.count, is_application=bool(self._stored.application))
        self.add("manifest", is_good, said, began)

    def _choose(self, nodes: Iterable[Walked]) -> Sequence[Walked]:
        """Count the files, and return some: each is as likely as any other."""
        chosen: list[Walked] = []
        seen = size = 0
        for number, node in enumerate(nodes):
            if number % 10_000 == 0:
                self._control.raise_if_stopped()
            if node.kind != "file":
                continue
            seen, size = seen + 1, size + node.size
            if len(chosen) < SAMPLE:
                chosen.append(node)
            elif (at := random.randrange(seen)) < SAMPLE:  # noqa: S311 - nothing is secret about it
                chosen[at] = node
        self.count = Count(self.count.files + seen, self.count.bytes + size)
        return chosen

    def read_files(self) -> None:
        """Read what was chosen. Raise ResticFailed when something cannot be read."""
        began = time.monotonic()
        if not self._chosen:
            return
        short = ""
        for restic_id, node in self._chosen:
            path = to_text(node.folder.rstrip(b"/") + b"/" + node.name)
            digest, size = self._read(restic_id, path)
            if size != min(node.size, LARGEST):
                short = short or f"{path} has {size:,} bytes and not {node.size:,}"
            elif node.size <= LARGEST:
                self.hashes.append(FileHash(path, size, digest))
        said = short or f"{len(self._chosen)} files, chosen by chance, were read, each piece by its check sum"
        self.add("files", not short, said, began)

    def _read(self, restic_id: str, path: str) -> tuple[str, int]:
        digest, size = hashlib.sha256(), 0
        with closing(self._repository.dump_file(restic_id, path)) as pieces:
            for piece in pieces:
                self._control.raise_if_stopped()
                kept = piece[: LARGEST - size]
                digest.update(kept)
                size += len(kept)
                if size == LARGEST:
                    break
        return digest.hexdigest(), size

    def add(self, name: str, is_passed: bool, said: str, began: float) -> None:
        self.checks.append(Check(name, is_passed, said, time.monotonic() - began))
        self._tell(Said(f"{name}: {said}.", Level.INFO if is_passed else Level.ERROR))
