"""Does log belong where it is said to lie: the headers of its pages (PostgreSQL's xlog_internal.h). Pure."""

from __future__ import annotations

import struct

from agents.errors import ProtocolBroken

# magic, flags, timeline, position: in the byte order of the server's processor
_HEADERS = (struct.Struct("<HHIQ"), struct.Struct(">HHIQ"))


def check_pages(data: bytes, start: int, timeline: int, block_bytes: int) -> None:
    """Given log from position `start` on, look at the header of each page that begins in it. Raise
    ProtocolBroken when one is of another position or of a later timeline: a segment that is used again, or
    bytes that are no log. What follows a switch of segments is zero."""
    first = -start % block_bytes
    for offset in range(first, len(data) - _HEADERS[0].size + 1, block_bytes):
        header = data[offset : offset + _HEADERS[0].size]
        if not any(header):
            continue
        if not any(_is_of(each, header, start + offset, timeline) for each in _HEADERS):
            raise ProtocolBroken(
                "what the device handed over is not the log of this place", detail=header.hex()
            )


def _is_of(form: struct.Struct, header: bytes, lsn: int, timeline: int) -> bool:
    _, _, its_timeline, its_lsn = form.unpack(header)
    return bool(its_lsn == lsn and 0 < its_timeline <= timeline)
