"""What the tests of restore pages need: a point that was read, with names that nobody should choose."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

from asgiref.sync import async_to_sync
from django.http import HttpResponseBase, StreamingHttpResponse
from django.utils import timezone

from agents.restic.trees import Node
from backupsite.fleet.models import Device
from backupsite.recovery.browsing import keep_listing
from backupsite.recovery.models import RestorePoint
from backupsite.recovery.serving import PIECE_BYTES
from tests.backupsite.making import make_device, make_point

# Not UTF-8, a right-to-left override, markup, a new line, a control character; \udcff is the byte 0xff.
HOSTILE = [
    "\udcff\udcfe.txt",
    "\u202egnp.exe",
    '"><script>alert(1)</script>',
    "two\nlines",
    "bell\x07\x1b[2J",
    "-rf",
    "a%2e&b=c?#d",
    "  spaces  ",
]


def make_node(name: str, kind: str = "file", size: int = 10) -> Node:
    """An entry of a folder, as restic says it."""
    return Node(
        name=name,
        kind=kind,
        size=size,
        mode=0o644,
        modified_at=datetime(2026, 11, 22, 14, 2, tzinfo=UTC),
        uid=0,
        gid=0,
        user="root",
        group="root",
        link_target="elsewhere" if kind == "symlink" else "",
    )


def make_read_point(device: Device | None = None, names: list[str] | None = None) -> RestorePoint:
    """A restore point of /srv that was read: the folder "www", a link, and files."""
    point = make_point(device or make_device(), None, timezone.now())
    nodes = [make_node("www", "dir", 0), make_node("now", "symlink", 0)]
    keep_listing(point, "/srv", nodes + [make_node(name) for name in (names or ["a.txt", "b.txt"])])
    return point


def read_answer(answer: HttpResponseBase, most_pieces: int = 1000) -> bytes:
    """Read an answer as the server does, or the first pieces of it: then the person's network is cut."""
    assert isinstance(answer, StreamingHttpResponse) and answer.is_async, "else it lies in memory whole"

    async def collect() -> bytes:
        came = b""
        pieces: AsyncIterator[bytes] = aiter(answer)
        for _ in range(most_pieces):
            piece = await anext(pieces, b"")
            assert len(piece) <= PIECE_BYTES
            came += piece
        return came

    try:
        return async_to_sync(collect)()
    finally:
        answer.close()
