"""Second copies: snapshots of one repository in another one, made by the server.

restic reads each piece of data, proves it by its hash, and writes it anew under the keys of the other
repository. What is there already is not sent again, so a copy that was cut off goes on where it stopped.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from agents.commands import Secret
from agents.errors import RepositoryBroken
from agents.events import Tell
from agents.flow import Control
from agents.maintaining.copying_progress import Arrivals, Progress
from agents.restic import arguments
from agents.restic.outcomes import judge
from agents.restic.repository import Repository, SnapshotInfo

_TIMEOUT_S = 7 * 24 * 3600.0
# One restic for so many snapshots: each start reads both indexes, and what one did stays when the next fails.
_BATCH = 20


@dataclass(frozen=True, slots=True)
class _Content:
    """What makes two snapshots the same: all that is in them, and when they were made."""

    tree: str
    time: datetime | None
    paths: tuple[str, ...]


@contextmanager
def named_as_source(repository: Repository) -> Iterator[Mapping[str, str | Secret]]:
    """Return the variables that name an open repository as the one which is copied from. Its password, which
    opens it only while it is open here, lies in a file that nobody else reads, and is gone afterwards."""
    with tempfile.NamedTemporaryFile(prefix="hotfleet-from-") as file:
        file.write(repository.password.reveal().encode())
        file.flush()
        yield arguments.from_variables(repository.url, file.name)


def copy_snapshots(
    source: Repository,
    target: Repository,
    snapshot_ids: Sequence[str],
    *,
    tell: Tell,
    control: Control,
    arrivals: Arrivals | None = None,
) -> Iterator[dict[str, str]]:
    """Copy snapshots, some at a time, and yield their ids there by their ids here, each read back there.

    What exists there is not copied again. `arrivals` counts the bytes that come. Raise RepositoryBroken when
    one did not arrive, and what restic says when it cannot read or write."""
    known = {info.snapshot_id: info for info in source.list_snapshots()}
    missing = [each for each in snapshot_ids if each not in known]
    if missing:
        raise RepositoryBroken("a snapshot that is to be copied is not in the repository", detail=missing[0])
    progress = Progress(tell, arrivals, len(snapshot_ids))
    with named_as_source(source) as variables:
        for start in range(0, len(snapshot_ids), _BATCH):
            control.raise_if_stopped()
            batch = snapshot_ids[start : start + _BATCH]
            there = find_same(target.list_snapshots(), (known[each] for each in batch))
            if wanted := [each for each in batch if each not in there]:
                _copy(target, wanted, variables, progress, control)
                there = find_same(target.list_snapshots(), (known[each] for each in batch))
            for each in batch:
                if each not in there:
                    raise RepositoryBroken("a snapshot did not arrive in the second copy", detail=each)
                target.read_back(there[each])
            yield there
            progress.finish(start + len(batch))


def _copy(
    target: Repository,
    wanted: Sequence[str],
    variables: Mapping[str, str | Secret],
    progress: Progress,
    control: Control,
) -> None:
    def watch(said: bytes) -> None:
        control.raise_if_stopped()
        progress.step()

    result = target.call(
        partial(arguments.copy, snapshot_ids=wanted),
        writes=True,
        timeout_s=_TIMEOUT_S,
        variables=variables,
        watch=watch,
    )
    judge(result.status, result.tail)


def find_same(there: Iterable[SnapshotInfo], wanted: Iterable[SnapshotInfo]) -> dict[str, str]:
    """Given the snapshots of the other repository, return where those that are wanted are there. Pure.

    Not by what restic calls the original: a device may write anything there, but not another content."""
    by_content = {_content(info): info.snapshot_id for info in there}
    return {info.snapshot_id: by_content[_content(info)] for info in wanted if _content(info) in by_content}


def _content(info: SnapshotInfo) -> _Content:
    return _Content(info.tree, info.time, info.paths)
