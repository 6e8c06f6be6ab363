"""Looking into restore points and taking files out of them, on the console's side: no device is needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Literal

from agents.archives import stream_tar
from agents.errors import PlanRefused
from agents.events import Moved, Tell
from agents.flow import Control
from agents.repositories import RepositoryPlace
from agents.restic.binary import Binary
from agents.restic.repository import Repository, open_repository
from agents.restic.trees import Node
from agents.restic.walking import Head, Walked
from agents.zips import stream_zip

# What a download is packed into; a single file into nothing.
Archive = Literal["", "tar", "zip"]


def list_folder(place: RepositoryPlace, binary: Binary, restic_id: str, folder: str) -> list[Node]:
    """Return what a folder of a restore point holds, folders first, every byte of a name exact.

    Raise PathMissing when there is no such folder, RepositoryBroken when the repository does not open."""
    with open_repository(place.location, place.password, binary) as repository:
        nodes = repository.list_folder(restic_id, folder)
    return sorted(nodes, key=lambda node: (not node.is_folder, node.name))


@contextmanager
def walk_point(
    place: RepositoryPlace, binary: Binary, restic_id: str
) -> Iterator[tuple[Head, Iterator[Walked]]]:
    """Return what a restore point says first and an iterator over everything that it holds, in flat memory.

    Same errors as `list_folder`; those of the iterator come late: what it gave before is then not the whole.
    """
    with (
        open_repository(place.location, place.password, binary) as repository,
        repository.walk(restic_id) as walked,
    ):
        yield walked


def save_download(
    place: RepositoryPlace,
    binary: Binary,
    restic_id: str,
    paths: Sequence[str],
    *,
    archive: Archive,
    into: Path,
    size_limit_bytes: int,
    tell: Tell,
    control: Control,
) -> int:
    """Write a file, or a folder or several paths as an archive, of a restore point to the new file `into`;
    return its size.

    `into` appears only when it is whole. Raise PlanRefused when it grows over the limit or the disk is full,
    ResticFailed when restic cannot read it.
    """
    partial = into.with_suffix(".part")
    with open_repository(place.location, place.password, binary) as repository, ExitStack() as stack:
        try:
            pieces = _read(repository, restic_id, paths, archive)
            if archive == "zip":
                ends = [stack.enter_context(TemporaryFile(dir=into.parent)) for _ in range(2)]
                pieces = stream_zip(pieces, *ends)
            written = _write(pieces, partial, size_limit_bytes, tell, control)
            partial.rename(into)
        except OSError as error:
            raise PlanRefused(
                "The console's disk did not take the download.",
                remedy="Free some space there, or restore it into a folder of a device instead.",
                detail=str(error),
            ) from error
        finally:
            partial.unlink(missing_ok=True)
    return written


def _read(repository: Repository, restic_id: str, paths: Sequence[str], archive: Archive) -> Iterator[bytes]:
    """Return a file's content, or a tar archive."""
    if len(paths) > 1:
        return stream_tar(repository, restic_id, paths)
    return (repository.dump_tar if archive else repository.dump_file)(restic_id, paths[0])


def _write(pieces: Iterator[bytes], path: Path, limit: int, tell: Tell, control: Control) -> int:
    written = 0
    with path.open("xb") as file:
        for piece in pieces:
            control.raise_if_stopped()
            written += len(piece)
            if written > limit:
                raise PlanRefused(
                    f"The download is larger than {limit:,} bytes.",
                    remedy="Restore it into a folder of a device instead, or pick a smaller folder.",
                )
            file.write(piece)
            tell(Moved(bytes_done=written, files_done=0, stored_bytes=0, problems=0))
        return written
