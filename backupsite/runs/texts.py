"""Makes any text storable: what a device says may hold NUL, lone surrogates, and no end."""

from __future__ import annotations

import re

LINE_BYTES = 4096
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_CUT = " … (cut)"


def make_storable(text: str, limit_bytes: int = LINE_BYTES) -> str:
    """Given any text, return one that SQLite and PostgreSQL store, of at most `limit_bytes` in UTF-8.

    NUL becomes its picture; a byte that was no UTF-8 (Python keeps it as a lone surrogate) becomes \\xNN.
    """
    # Cut first, so that a gigabyte is not copied three times; each character is at least one byte.
    clean = _UNSTORABLE.sub(_show, text[: limit_bytes + 1])
    encoded = clean.encode()
    if len(encoded) <= limit_bytes:
        return clean
    return encoded[: limit_bytes - len(_CUT.encode())].decode(errors="ignore") + _CUT


def _show(match: re.Match[str]) -> str:
    number = ord(match[0])
    if number == 0:
        return "␀"
    return f"\\x{number - 0xDC00:02x}" if 0xDC80 <= number <= 0xDCFF else f"\\u{number:04x}"
