"""Several picked things of a restore point become one tar archive, with a real repository."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from agents.archives import _pad, _without_end, stream_tar
from agents.commands import to_text
from agents.errors import PlanRefused, ProtocolBroken
from agents.restic import arguments, children
from agents.restic.arguments import Restic
from agents.restic.binary import Binary
from agents.restic.repository import PathMissing, Repository, open_repository
from tests.agents.gateway_ground import PASSWORD, _template, binary, repository_path

__all__ = ["_template", "binary", "repository_path"]
LONG = "a name that fits into no old header " * 5


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / "folder" / "deep").mkdir(parents=True)
    (tree / "folder" / "deep" / "file").write_bytes(os.urandom(300_000))
    (tree / "empty").mkdir()
    (tree / "one").write_bytes(b"x" * 513)
    (tree / "nothing").touch()
    (tree / LONG).write_text("long")
    os.symlink("folder/deep/file", tree / "link")
    with open(os.path.join(os.fsencode(tree), b"\xff\xfe\n.txt"), "wb") as odd:
        odd.write(b"odd")
    os.mkfifo(tree / "pipe")
    return tree


@pytest.fixture
def stored(repository_path: Path, binary: Binary, tree: Path) -> Iterator[tuple[Repository, str]]:
    paths = tree.with_name("paths")
    paths.write_bytes(arguments.files_from_raw([str(tree)]))
    with open_repository(repository_path, PASSWORD, binary) as repository:
        command = arguments.backup(Restic(str(binary.path)), [], host="h", paths_file=str(paths))
        assert children.run(command, repository._variables, timeout_s=120).is_success
        (point,) = repository.list_snapshots()
        yield repository, point.snapshot_id


def unpack(stored: tuple[Repository, str], paths: Sequence[str], into: Path) -> None:
    archive = io.BytesIO(b"".join(stream_tar(*stored, paths)))
    with tarfile.open(fileobj=archive, errors="surrogateescape") as opened:
        opened.extractall(into, filter="fully_trusted")
    assert archive.read().strip(b"\0") == b""


def test_everything_that_is_picked_comes(stored: tuple[Repository, str], tree: Path, tmp_path: Path) -> None:
    odd = to_text(b"\xff\xfe\n.txt")
    names = ["empty", "folder", "link", LONG, "nothing", "one", odd]
    unpack(stored, [f"{tree}/{name}" for name in names], tmp_path / "out")
    came = tmp_path / "out" / str(tree).lstrip("/")
    assert sorted(os.listdir(came)) == sorted(names)
    for name in ("one", "nothing", LONG, odd, "folder/deep/file"):
        assert (came / name).read_bytes() == (tree / name).read_bytes()
    assert os.readlink(came / "link") == "folder/deep/file"
    assert int((came / "one").stat().st_mtime) == int((tree / "one").stat().st_mtime)
    assert (came / "one").stat().st_mode == (tree / "one").stat().st_mode


def test_what_is_not_there_is_no_archive(stored: tuple[Repository, str], tree: Path) -> None:
    with pytest.raises(PathMissing):
        list(stream_tar(*stored, [f"{tree}/one", f"{tree}/two"]))
    with pytest.raises(PlanRefused):
        list(stream_tar(*stored, [f"{tree}/one", f"{tree}/pipe"]))


@pytest.mark.parametrize("pieces", [[b"12"], [b"123", b"4"], []])
def test_a_file_of_another_length_is_no_file(pieces: list[bytes]) -> None:
    with pytest.raises(ProtocolBroken):
        list(_pad(pieces, 3))


@pytest.mark.parametrize("pieces", [[], [b"x" * 2048], [bytes(1023)], [bytes(1024), b"1"]])
def test_an_archive_that_was_cut_is_none(pieces: list[bytes]) -> None:
    with pytest.raises(ProtocolBroken):
        list(_without_end(pieces))


def test_the_end_may_come_in_pieces() -> None:
    pieces = [b"x" * 512, bytes(1), bytes(1000), bytes(23)]
    assert b"".join(_without_end(pieces)) == b"x" * 512
