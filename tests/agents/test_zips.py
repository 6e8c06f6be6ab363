"""What was picked in a restore point becomes one zip archive: with a real repository, and by hand."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from agents import zips
from agents.archives import stream_tar
from agents.commands import to_text
from agents.errors import PlanRefused, ProtocolBroken
from agents.restic.repository import Repository
from agents.zips import stream_zip
from tests.agents.gateway_ground import _template, binary, repository_path
from tests.agents.test_archives import LONG, stored, tree

__all__ = ["_template", "binary", "repository_path", "stored", "tree"]
ODD = b"\xff\xfe\n.txt"


def convert(pieces: Iterable[bytes]) -> bytes:
    return b"".join(stream_zip(pieces, io.BytesIO(), io.BytesIO()))


def make_tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", errors="surrogateescape") as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def make_member(
    name: str, kind: bytes = tarfile.REGTYPE, content: bytes = b""
) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.type, member.mtime = kind, 1_700_000_001
    return member, content


def open_zip(content: bytes) -> zipfile.ZipFile:
    archive = zipfile.ZipFile(io.BytesIO(content))
    assert archive.testzip() is None
    return archive


@pytest.fixture
def unzipped(stored: tuple[Repository, str], tree: Path, tmp_path: Path) -> Path:
    """The tree after the way through restic, tar and zip, as Info-ZIP unpacks it."""
    (tmp_path / "all.zip").write_bytes(convert(stream_tar(*stored, [str(tree)])))
    subprocess.run(["unzip", "-q", "all.zip", "-d", "out"], cwd=tmp_path, check=True, timeout=60)
    return tmp_path / "out" / str(tree).lstrip("/")


def test_everything_comes_back_out(unzipped: Path, tree: Path) -> None:
    # Info-ZIP leaves the new line and 0xff out of the odd name.
    names = [b"empty", b"folder", b"link", LONG.encode(), b"nothing", b"one", b"pipe", ODD[1:2] + b".txt"]
    assert sorted(os.listdir(os.fsencode(unzipped))) == sorted(names)
    for name in ("one", "nothing", LONG, "folder/deep/file"):
        came, gone = unzipped / name, tree / name
        assert came.read_bytes() == gone.read_bytes()
        assert came.stat().st_mode == gone.stat().st_mode
        assert abs(came.stat().st_mtime - gone.stat().st_mtime) <= 1, "restic rounds it"
    assert os.readlink(unzipped / "link") == "folder/deep/file"
    assert list((unzipped / "empty").iterdir()) == []
    assert (unzipped / "pipe").read_bytes() == b"", "what the page says of it"


def test_links_come_last() -> None:
    link = make_member("a/link", tarfile.SYMTYPE)
    link[0].linkname = "/etc"
    archive = open_zip(convert([make_tar(link, make_member("a/link/passwd", content=b"x"))]))
    assert archive.namelist() == ["a/link/passwd", "a/link"]
    assert archive.read("a/link") == b"/etc"
    assert stat.S_ISLNK(archive.getinfo("a/link").external_attr >> 16)


def test_names_keep_their_bytes_and_part_no_folders() -> None:
    names = ["grün.txt", "..\\..\\evil", "a%5Cb", "a\\b", "a%255Cb", to_text(ODD)]
    packed = convert([make_tar(*(make_member(name, content=b"x") for name in names))])
    archive = open_zip(packed)
    assert archive.namelist()[:5] == ["grün.txt", "..%5C..%5Cevil", "a%255Cb", "a%5Cb", "a%25255Cb"]
    assert [bool(info.flag_bits & 0x800) for info in archive.infolist()] == [True, *[False] * 5]
    assert ODD in packed


@pytest.mark.parametrize("kind", [tarfile.LNKTYPE, tarfile.CONTTYPE, tarfile.FIFOTYPE])
def test_what_restic_never_writes_is_not_guessed(kind: bytes) -> None:
    with pytest.raises(ProtocolBroken, match="unknown kind"):
        convert([make_tar(make_member("a", kind))])


@pytest.mark.parametrize("name", ["../up", "a/../../up", "a//b", "./a"])
def test_a_path_that_leads_out_is_no_archive(name: str) -> None:
    with pytest.raises(ProtocolBroken, match="impossible path"):
        convert([make_tar(make_member(name))])


def test_what_no_zip_holds_is_refused_with_what_to_do() -> None:
    with pytest.raises(PlanRefused, match="too long") as refused:
        convert([make_tar(make_member("a/" * 40_000 + "b"))])
    assert refused.value.remedy == "Take a tar archive instead."


def test_an_archive_that_was_cut_is_none() -> None:
    whole = make_tar(make_member("one", content=b"x" * 5000), make_member("two", content=b"y" * 700))
    data_end = len(whole.rstrip(b"\0"))
    open_zip(convert([whole]))
    for end in (*range(100, data_end + 512, 512), data_end + 600):
        with pytest.raises(ProtocolBroken):
            convert([whole[:end]])
    spoiled = bytearray(whole)
    spoiled[5632 + 10] ^= 1  # in the header of "two": tarfile takes it for the end
    with pytest.raises(ProtocolBroken):
        convert([bytes(spoiled)])


def test_pieces_may_be_cut_anywhere() -> None:
    whole = make_tar(make_member("one", content=os.urandom(3000)), make_member("two", content=b"y" * 700))
    expected = convert([whole])
    for size in (1, 7, 511, 513, 4096):
        pieces = (whole[start : start + size] for start in range(0, len(whole), size))
        assert convert(pieces) == expected


def test_nothing_is_an_archive_too() -> None:
    assert open_zip(convert([bytes(1024)])).namelist() == []


def test_lengths_of_64_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the limits were low: lengths, the place of an entry, and the number of entries."""
    members = [make_member(f"{number}", content=b"y" * 900 * number) for number in range(4)]
    for limit in ("_LARGE", "_FAR", "_MANY"):
        monkeypatch.setattr(zips, limit, 2)
        archive = open_zip(convert([make_tar(*members)]))
        assert [archive.read(str(number)) for number in range(4)] == [content for _, content in members]


@pytest.mark.full
def test_a_file_that_needs_64_bits(tmp_path: Path) -> None:
    size = 4_400_000_000
    member = tarfile.TarInfo("large")
    member.size = size
    piece = bytes(16 * 1024 * 1024)

    def make() -> Iterator[bytes]:
        yield member.tobuf(tarfile.PAX_FORMAT)
        for start in range(0, size, len(piece)):
            yield piece[: size - start]
        yield bytes(-size % 512 + 1024)

    with (tmp_path / "large.zip").open("wb") as file:
        file.writelines(stream_zip(make(), io.BytesIO(), io.BytesIO()))
    (info,) = zipfile.ZipFile(tmp_path / "large.zip").infolist()
    assert info.file_size == size
    subprocess.run(["unzip", "-tq", "large.zip"], cwd=tmp_path, check=True, timeout=300)


COUNT = """
import re, sys, tarfile, tempfile
from agents.zips import stream_zip
def make(count):
    for number in range(count):
        member = tarfile.TarInfo(f"srv/uploads/{number // 1000:05}/invoice-{number:08}.pdf")
        member.size = 1
        yield member.tobuf() + b"x" + bytes(511)
    yield bytes(1024)
with tempfile.TemporaryFile() as directory, tempfile.TemporaryFile() as links:
    with open(sys.argv[2], "wb") as file:
        file.writelines(stream_zip(make(int(sys.argv[1])), directory, links))
# getrusage would tell of whoever started this, too
print(int(re.search("VmHWM:\\s+([0-9]+) kB", open("/proc/self/status").read())[1]) * 1000)
"""


@pytest.mark.parametrize("count", [100_000, pytest.param(1_000_000, marks=pytest.mark.full)])
def test_memory_does_not_grow_with_the_entries(count: int, tmp_path: Path) -> None:
    file = tmp_path / "many.zip"
    needed = {}
    for entries in (1000, count):
        words = [sys.executable, "-c", COUNT, str(entries), str(file)]
        needed[entries] = int(subprocess.run(words, check=True, capture_output=True, timeout=3000).stdout)
    # the libraries would need 30 MB for 100,000
    assert needed[count] - needed[1000] < 6_000_000
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        assert (len(names), archive.read(names[-1])) == (count, b"x")
