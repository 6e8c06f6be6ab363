"""Everything that a restore point holds: names of any bytes, the order, and what is no listing."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.errors import AgentError, ProtocolBroken
from agents.restic.binary import Binary
from agents.restic.repository import Repository, open_repository
from agents.restic.walking import LONGEST_LINE, Walked, read_lines, walk
from tests.agents.gateway_ground import PASSWORD, RECOVERY, _template, binary, repository_path
from tests.children import find_children

__all__ = ["_template", "binary", "repository_path"]

FILES = [
    b"plain", b"caf\xe9", b"caf\xef\xbf\xbd", b"caf\xea", b"new\nline", b' "q"\\ufffd', b"-rf", b"\x01",
    b"a.b", b"d\xff/in", b"d\xfe/in", b"d\xfe/deep\n\n/\xf0x", b"d\xfe.txt", "ü/\u202e".encode(), b"a/b",
]  # fmt: skip


@pytest.fixture
def repository(repository_path: Path, binary: Binary) -> Iterator[Repository]:
    with open_repository(repository_path, PASSWORD, binary) as opened:
        yield opened


def back_up(repository_path: Path, binary: Binary, source: Path) -> str:
    environment = {"RESTIC_REPOSITORY": str(repository_path), "RESTIC_PASSWORD": RECOVERY.reveal()}
    words = [str(binary.path), "--no-cache", "backup", "--quiet", "--", str(source)]
    subprocess.run(words, env=environment, check=True)
    [snapshot] = (repository_path / "snapshots").iterdir()
    return snapshot.name


def test_every_name_comes_back_byte_for_byte(
    repository: Repository, repository_path: Path, binary: Binary, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    for name in FILES:
        path = os.fsencode(source) + b"/" + name
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(name)
        os.utime(path, ns=(0, 1_795_367_758_123_456_789))
    with repository.walk(back_up(repository_path, binary, source)) as (head, nodes):
        listed = list(nodes)
    assert len(head.tree) == len(head.restic_id) == 64
    files = {node.folder + b"/" + node.name: node for node in listed if node.kind == "file"}
    assert set(files) == {os.fsencode(source) + b"/" + name for name in FILES}
    for path, node in files.items():
        assert node.size == len(path.removeprefix(os.fsencode(source) + b"/"))
        assert node.modified_ms == 1_795_367_758_123
    assert_is_ordered(listed)


def assert_is_ordered(nodes: list[Walked]) -> None:
    """What whoever compares two listings relies on."""
    last: dict[bytes, bytes] = {b"/": b""}
    for node in nodes:
        assert last[node.folder] < node.name
        last[node.folder] = node.name
        if node.kind == "dir":
            last[node.folder.rstrip(b"/") + b"/" + node.name] = b""


def test_a_point_that_is_not_there_is_an_error(repository: Repository) -> None:
    with pytest.raises(AgentError), repository.walk("0" * 64):
        pass


def test_leaving_early_ends_restic(
    repository: Repository, repository_path: Path, binary: Binary, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for number in range(3000):
        (source / f"{number}").touch()
    restic_id = back_up(repository_path, binary, source)
    before = find_children().keys()
    with repository.walk(restic_id) as (_, nodes):
        next(nodes)
        assert find_children().keys() > before
    assert find_children().keys() == before


def make_line(path: str, **fields: object) -> bytes:
    return json.dumps({"path": path, "type": "file", "size": 1, **fields}).encode()


def no_raw() -> Iterator[bytes]:
    raise AssertionError("nobody asked for bytes")


@pytest.mark.parametrize(
    "line",
    [
        b"", b"{", b"[]", b"null", b"[" * 100_000, make_line("relative"), make_line("/a/.."), make_line("/."),
        make_line("/a\0b"), make_line("/"), make_line("/a/"), make_line("/a", size=-1),
        make_line("/a", size=True), make_line("/a", size=2**63), make_line("/a", type=None), b'{"path": 1}',
        make_line("/\ud800"),
    ],
)  # fmt: skip
def test_what_is_no_node_is_refused(line: bytes) -> None:
    with pytest.raises(ProtocolBroken):
        list(walk([line], no_raw))


def test_a_listing_of_bytes_that_does_not_fit_is_refused() -> None:
    line = b'{"path": "/a\\ufffd", "type": "file"}'
    others: list[list[bytes]] = [[], [b"/b\xff"], [b"/a\xff/c"]]
    for raw in others:
        with pytest.raises(ProtocolBroken, match="differ"):
            list(walk([line], raw.copy))
    with pytest.raises(ProtocolBroken, match="differ"):
        list(walk([make_line("/a"), line], lambda: [b"/a"]))


@pytest.mark.parametrize("moment", ["", "yesterday", "0000-01-01T00:00:00Z", None, 7])
def test_a_time_that_no_calendar_holds_is_none(moment: object) -> None:
    [node] = walk([make_line("/a", mtime=moment)], no_raw)
    assert node.modified_ms is None


def test_lines_are_cut_wherever_the_pieces_end() -> None:
    text = b"one\ntwo\n\nlast"
    for size in range(1, len(text) + 1):
        pieces = [text[start : start + size] for start in range(0, len(text), size)]
        assert list(read_lines(pieces)) == [b"one", b"two", b"", b"last"]
    with pytest.raises(ProtocolBroken, match="no end"):
        list(read_lines([b"x" * LONGEST_LINE, b"x"]))
