"""Whatever a device sends, the gateway ends in order and the repository holds nothing that breaks a rule."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.gateway import Gateway, Journal, LocalStore, Rights
from tests.agents.gateway_ground import CREDENTIALS, make_layout, name_of, request


class ScriptedStream:
    """A stream that brings what a test says, in the pieces that it says."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces
        self.sent = b""

    def recv(self, size: int) -> bytes:
        if not self._pieces:
            return b""
        piece = self._pieces.pop(0)
        if len(piece) > size:
            self._pieces.insert(0, piece[size:])
        return piece[:size]

    def sendall(self, data: bytes) -> None:
        self.sent += data

    def settimeout(self, seconds: float | None) -> None:
        assert seconds is None or seconds > 0

    def close(self) -> None:
        return None


def _valid(content: bytes, kind: str, method: str) -> bytes:
    return request(method, f"/{kind}/{name_of(content)}", content if method == "POST" else None)


REQUESTS = st.builds(
    _valid,
    st.binary(min_size=1, max_size=50),
    st.sampled_from(["data", "index", "snapshots", "locks", "keys", "config"]),
    st.sampled_from(["GET", "HEAD", "POST", "DELETE", "PUT"]),
)
JUNK = st.binary(max_size=60)


@st.composite
def conversations(draw: st.DrawFn) -> list[bytes]:
    """Whole requests, junk between them, a byte changed here and there, cut into any pieces."""
    whole = bytearray(b"".join(draw(st.lists(REQUESTS | JUNK, max_size=6))))
    for _ in range(draw(st.integers(0, 3)) if whole else 0):
        whole[draw(st.integers(0, len(whole) - 1))] = draw(st.integers(0, 255))
    cuts = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    ends = [0, *cuts, len(whole)]
    return [bytes(whole[a:b]) for a, b in pairwise(ends) if a < b]


@settings(max_examples=150, deadline=None)
@given(conversations(), st.sampled_from(Rights))
def test_no_conversation_breaks_a_rule(pieces: list[bytes], rights: Rights) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = make_layout(Path(folder) / "repository")
        with LocalStore(root) as store, Journal(Path(folder) / "journal") as journal:
            gateway = Gateway(store, CREDENTIALS, rights=rights, journal=journal)
            stream = ScriptedStream(pieces)
            gateway.serve(stream)
            gateway.close()
        assert stream.sent == b"" or stream.sent.startswith(b"HTTP/1.1 ")
        assert (root / "config").read_bytes() == b"a config"
        for path in root.rglob("*"):
            if path.is_file() and path.name != "config":
                assert path.name == name_of(path.read_bytes())
                kind = path.relative_to(root).parts[0]
                assert rights is Rights.BACKUP and kind in ("data", "index", "snapshots")
