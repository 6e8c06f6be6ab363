"""One folder of a restore point, every byte of every name exact.

`restic ls --json` shows U+FFFD for bytes that are not UTF-8, so that two files can get one name. The tree
itself (`restic cat tree`) quotes names as Go's strconv.Quote does, which loses nothing.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from datetime import datetime

from agents.commands import to_bytes, to_text
from agents.errors import ProtocolBroken
from agents.restic.fields import Fields

_ESCAPE = re.compile(rb"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|(.))", re.DOTALL)
_SIMPLE = {
    b"a": b"\a",
    b"b": b"\b",
    b"f": b"\f",
    b"n": b"\n",
    b"r": b"\r",
    b"t": b"\t",
    b"v": b"\v",
    b"\\": b"\\",
    b'"': b'"',
    b"'": b"'",
}
# Go keeps setuid, setgid and sticky elsewhere in its FileMode than Unix does.
_SPECIAL_BITS = ((1 << 23, 0o4000), (1 << 22, 0o2000), (1 << 20, 0o1000))


@dataclass(frozen=True, slots=True)
class Node:
    """One entry of a folder. Its texts keep all their bytes (as surrogates): escape before showing."""

    name: str
    kind: str  # file, dir, symlink, dev, chardev, fifo, socket
    size: int
    mode: int  # permissions with setuid, setgid and sticky, as chmod takes them
    modified_at: datetime | None
    uid: int
    gid: int
    user: str
    group: str
    link_target: str

    @property
    def is_folder(self) -> bool:
        return self.kind == "dir"


def parse_tree(text: bytes) -> list[Node]:
    """Given what `restic cat tree` prints, return the entries in restic's order (by the bytes of the name).

    Raise ProtocolBroken when it is not a tree."""
    return [_parse_node(fields) for fields in Fields.parse(text, "tree").list("nodes")]


def unquote(text: str) -> str:
    """Given a name as strconv.Quote writes it (without the quotes), return it with its true bytes.

    Raise ProtocolBroken for an escape that Go does not write."""
    return to_text(_ESCAPE.sub(_unescape, to_bytes(text)))


def _unescape(match: re.Match[bytes]) -> bytes:
    byte, short, long, simple = match.groups()
    if byte is not None:
        return bytes([int(byte, 16)])
    if simple is not None and simple in _SIMPLE:
        return _SIMPLE[simple]
    try:
        return chr(int(short or long or b"", 16)).encode()
    except (ValueError, UnicodeEncodeError) as error:
        raise ProtocolBroken(
            "a name in a tree is not quoted as restic does", detail=repr(match[0])
        ) from error


def _parse_node(fields: Fields) -> Node:
    name = unquote(fields.text("name"))
    if not name or "/" in name or "\0" in name or name in (".", ".."):
        raise ProtocolBroken("a tree holds an entry with an impossible name", detail=repr(name))
    return Node(
        name=name,
        kind=fields.text("type"),
        size=fields.integer("size"),
        mode=_unix_mode(fields.integer("mode")),
        modified_at=fields.moment("mtime"),
        uid=fields.integer("uid"),
        gid=fields.integer("gid"),
        user=fields.text("user"),
        group=fields.text("group"),
        link_target=_link_target(fields),
    )


def _unix_mode(mode: int) -> int:
    return (mode & 0o777) | sum(unix for go, unix in _SPECIAL_BITS if mode & go)


def _link_target(fields: Fields) -> str:
    if not fields.has("linktarget_raw"):
        return fields.text("linktarget")
    try:
        return to_text(base64.b64decode(fields.text("linktarget_raw"), validate=True))
    except binascii.Error as error:
        raise ProtocolBroken("a link in a tree has an unreadable target") from error
