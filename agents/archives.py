"""Several files, folders and links of a restore point as one tar archive, streamed in flat memory."""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Iterable, Iterator, Sequence

from agents.errors import PlanRefused, ProtocolBroken
from agents.restic.repository import PathMissing, Repository
from agents.restic.trees import Node

_BLOCK = tarfile.BLOCKSIZE
_END = bytes(2 * _BLOCK)
_TYPES = {"file": tarfile.REGTYPE, "symlink": tarfile.SYMTYPE, "dir": tarfile.DIRTYPE}


def stream_tar(repository: Repository, restic_id: str, paths: Sequence[str]) -> Iterator[bytes]:
    """Given absolute paths of a restore point, none inside of another, return them as a tar archive; names in
    it are the paths without the first slash.

    Raise PathMissing when one is not there, PlanRefused for a device or a socket, ProtocolBroken when a file
    is not as long as its entry says: what was passed on then is not the archive."""
    folders: dict[str, dict[str, Node]] = {}
    for path in paths:
        above, name = posixpath.split(path)
        if above not in folders:
            folders[above] = {node.name: node for node in repository.list_folder(restic_id, above)}
        node = folders[above].get(name)
        if node is None:
            raise PathMissing("The restore point does not hold all that was picked.", remedy="Pick it again.")
        yield _make_header(path, node)
        if node.is_folder:
            # restic's archive of a folder holds what is in it, not itself.
            yield from _without_end(repository.dump_tar(restic_id, path))
        elif node.kind == "file":
            yield from _pad(repository.dump_file(restic_id, path), node.size)
    yield _END


def _make_header(path: str, node: Node) -> bytes:
    kind = _TYPES.get(node.kind)
    if kind is None:
        raise PlanRefused(
            "Only files, folders and links can be downloaded one by one.", remedy="Pick the folder of it."
        )
    info = tarfile.TarInfo(path.lstrip("/"))
    info.type, info.linkname = kind, node.link_target
    info.size = node.size if node.kind == "file" else 0
    info.mode, info.uid, info.gid, info.uname, info.gname = (
        node.mode,
        node.uid,
        node.gid,
        node.user,
        node.group,
    )
    info.mtime = int(node.modified_at.timestamp()) if node.modified_at is not None else 0
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _pad(pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
    seen = 0
    for piece in pieces:
        seen += len(piece)
        if seen > size:
            break
        yield piece
    if seen != size:
        raise ProtocolBroken("a file of the restore point is not as long as its entry says")
    yield bytes(-size % _BLOCK)


def _without_end(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Pass an archive on without the two empty blocks that end it."""
    held = b""
    for piece in pieces:
        held += piece
        if len(held) > len(_END):
            yield held[: -len(_END)]
            held = held[-len(_END) :]
    if held != _END:
        raise ProtocolBroken("restic ended an archive in the middle")
