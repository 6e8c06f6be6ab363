"""A file of the spool on its way to a browser: piece by piece, and from where a cut download ended.

Django gives a plain iterator to an ASGI server as one list: a download would lie in memory whole. And its
FileResponse knows no ranges.
"""

from __future__ import annotations

import re
from asyncio import to_thread
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import BinaryIO

from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse

PIECE_BYTES = 256 * 1024
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


class Unsatisfiable(Exception):
    """A range that begins after the end of its file."""


@dataclass(frozen=True, slots=True)
class Part:
    """The bytes of a file from `first`, `count` of them."""

    first: int
    count: int


class Pieces:
    """A part of an open file, read beside the event loop. It is closed with its answer, sent or not."""

    def __init__(self, file: BinaryIO, part: Part) -> None:
        self._file, self._part = file, part

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._file.seek(self._part.first)
        left = self._part.count
        while left and (piece := await to_thread(self._file.read, min(left, PIECE_BYTES))):
            left -= len(piece)
            yield piece

    def close(self) -> None:
        self._file.close()


def serve_file(request: HttpRequest, file: BinaryIO, size: int, tag: str) -> HttpResponseBase:
    """Given a request and an open file that never changes, return the answer, of the part that is asked for.

    `tag` names the content: two files of one tag are the same, byte for byte."""
    etag = f'"{tag}"'
    try:
        part = find_part(request, size, etag)
    except Unsatisfiable:
        file.close()
        answer: HttpResponseBase = HttpResponse(status=416)
        answer["Content-Range"] = f"bytes */{size}"
        return answer
    wanted = part or Part(0, size)
    if request.method == "HEAD":
        file.close()
        answer = HttpResponse()
    else:
        answer = StreamingHttpResponse(Pieces(file, wanted))
    if part is not None:
        answer.status_code = 206
        answer["Content-Range"] = f"bytes {part.first}-{part.first + part.count - 1}/{size}"
    answer["Content-Type"] = "application/octet-stream"
    answer["Content-Length"] = str(wanted.count)
    answer["Accept-Ranges"] = "bytes"
    answer["ETag"] = etag
    return answer


def find_part(request: HttpRequest, size: int, etag: str) -> Part | None:
    """Given a request for a file of `size` bytes, return the part that it asks for; None for all of it, also
    when what was fetched before was another file. Raise Unsatisfiable. Pure."""
    unchanged = request.headers.get("If-Range", etag).strip()
    if request.method != "GET" or unchanged != etag:
        return None
    return parse_range(request.headers.get("Range", ""), size)


def parse_range(text: str, size: int) -> Part | None:
    """Given a Range header and a file's size, return the part; None for all of it, which is also the answer
    to several ranges and to what is none (RFC 9110, 14.2). Raise Unsatisfiable. Pure."""
    found = _RANGE.fullmatch(text.strip())
    if found is None or found[0] == "bytes=-":
        return None
    if not found[1]:
        count = min(int(found[2]), size)
        if not count:
            raise Unsatisfiable
        return Part(size - count, count)
    first = int(found[1])
    last = int(found[2]) if found[2] else size - 1
    if found[2] and last < first:
        return None
    if first >= size:
        raise Unsatisfiable
    return Part(first, min(last, size - 1) - first + 1)
