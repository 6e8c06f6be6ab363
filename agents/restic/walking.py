"""Everything that a restore point holds, node by node, every byte of every name exact, in flat memory.

`restic ls --json` writes a byte that is not UTF-8 as the six characters `\\ufffd`, so that two files can get
one name; `restic ls` without JSON prints the bytes as they are, but a new line in a name looks like the end
of a path. Both together lose nothing: the first says how many new lines belong to each path, the second what
its bytes are. The second is started only when the first such name comes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import NamedTuple

from agents.errors import ProtocolBroken
from agents.restic.fields import Fields

LONGEST_LINE = 1024 * 1024
_LOSSY = b"\\ufffd"
_HIGH = bytes(range(128, 256))


class Walked(NamedTuple):
    """One node. A folder comes before what is in it; the names of one folder come in the order of their
    bytes. `modified_ms` is milliseconds since 1970, None when restic does not know."""

    folder: bytes
    name: bytes
    kind: str  # as trees.Node says it
    size: int
    modified_ms: int | None


class Head(NamedTuple):
    """What the listing says first. Two restore points of one `tree` hold the same."""

    restic_id: str
    tree: str


def read_lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Given output piece by piece, return its lines without their ends.

    Raise ProtocolBroken when one is longer than anything that restic writes."""
    rest = b""
    for piece in pieces:
        first, *others = piece.split(b"\n")
        rest += first
        if len(rest) > LONGEST_LINE:
            raise ProtocolBroken("a line of restic's listing has no end", detail=repr(rest[:200]))
        if others:
            yield rest
            yield from others[:-1]
            rest = others[-1]
    if rest:
        yield rest


def parse_head(line: bytes) -> Head:
    """Given the first line of `restic ls --json`, return it. Raise ProtocolBroken when it is another."""
    fields = Fields.parse(line, "listing")
    head = Head(fields.text("id"), fields.text("tree"))
    if not head.restic_id or not head.tree:
        raise ProtocolBroken("restic's listing does not begin with a restore point", detail=repr(line[:500]))
    return head


def walk(lines: Iterable[bytes], open_raw: Callable[[], Iterable[bytes]]) -> Iterator[Walked]:
    """Given the lines of `restic ls --json` after the head, return the nodes; `open_raw` starts `restic ls`
    of the same restore point and returns its lines. Raise ProtocolBroken when either is not what it seems."""
    raw: Iterator[bytes] | None = None
    passed = 0
    for line in lines:
        record = _parse(line)
        path = _text(record, "path")
        if raw is None and _LOSSY in line:
            raw = iter(open_raw())
            _skip(raw, passed)
        if raw is None:
            exact = _encode(path)
            passed += 1 + path.count("\n")
        else:
            exact = _read_exact(raw, path)
        yield _make(record, exact)


def _skip(raw: Iterator[bytes], count: int) -> None:
    for _ in range(count):
        if next(raw, None) is None:
            raise ProtocolBroken("restic's two listings of one restore point differ")


def _read_exact(raw: Iterator[bytes], path: str) -> bytes:
    """Return the next path of the listing that keeps bytes. Both must agree in everything but the bytes that
    JSON cannot hold."""
    try:
        exact = b"\n".join([next(raw) for _ in range(path.count("\n") + 1)])
    except StopIteration:
        raise ProtocolBroken("restic's two listings of one restore point differ") from None
    if _ascii_of(exact) != _ascii_of(_encode(path)):
        raise ProtocolBroken("restic's two listings of one restore point differ", detail=repr(exact[:500]))
    return exact


def _encode(path: str) -> bytes:
    try:
        return path.encode()
    except UnicodeEncodeError as error:
        raise ProtocolBroken("a listing holds an impossible path", detail=repr(path[:500])) from error


def _ascii_of(path: bytes) -> bytes:
    return path.translate(None, _HIGH)


def _make(record: dict[str, object], path: bytes) -> Walked:
    folder, _, name = path.rpartition(b"/")
    if not path.startswith(b"/") or not name or name in (b".", b"..") or b"\0" in path:
        raise ProtocolBroken("a listing holds an impossible path", detail=repr(path[:500]))
    size = record.get("size", 0)
    if type(size) is not int or not 0 <= size < 2**63:
        raise ProtocolBroken("a listing holds an impossible size", detail=repr(size)[:200])
    return Walked(folder or b"/", name, _text(record, "type"), size, _moment(record.get("mtime")))


def _parse(line: bytes) -> dict[str, object]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ProtocolBroken("restic's listing is not JSON", detail=repr(line[:500])) from error
    if not isinstance(record, dict):
        raise ProtocolBroken("restic's listing holds something that is no node", detail=repr(line[:500]))
    return record


def _text(record: dict[str, object], name: str) -> str:
    value = record.get(name)
    if not isinstance(value, str):
        raise ProtocolBroken(f"a node of restic's listing has no {name!r}", detail=repr(record)[:500])
    return value


def _moment(value: object) -> int | None:
    """Milliseconds since 1970; None for what a device may claim and no calendar holds."""
    if not isinstance(value, str):
        return None
    try:
        return round(datetime.fromisoformat(value).timestamp() * 1000)
    except (ValueError, OverflowError):
        return None
