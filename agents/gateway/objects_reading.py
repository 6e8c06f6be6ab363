"""An object of an object store, read from front to back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import obstore
from obstore.exceptions import GenericError

from agents.gateway.objects_account import Client
from agents.gateway.objects_errors import told
from agents.gateway.store import StoreFailed, StoreUnreachable

_CHUNK: Final = 256 * 1024
_TRIES: Final = 3
# What the client says of a server that answers a range with status 200 (`rclone serve s3` does).
_NO_RANGE: Final = "non-partial response"


class ObjectReader:
    """Used by one thread. One request brings all from where reading starts to its expected end."""

    def __init__(self, client: Client, key: str, size: int) -> None:
        self._client = client
        self._key = key
        self.size = size
        self._end = size
        self._offset = 0
        self._pieces: Iterator[bytes] | None = None
        self._rest = memoryview(b"")

    def expect(self, end: int) -> None:
        """Ask for nothing from byte `end` on, as long as nobody reads beyond it."""
        self._end = min(end, self.size)

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`, nothing at the end. Raise StoreFailed when the store
        does not give them, also when asked again."""
        if offset >= self.size or length <= 0:
            return b""
        for _ in range(_TRIES - 1):
            try:
                return self._take(offset, length)
            except StoreUnreachable:
                self.close()
        return self._take(offset, length)

    def close(self) -> None:
        """Stop reading. May be called twice."""
        self._pieces, self._rest = None, memoryview(b"")

    def _take(self, offset: int, length: int) -> bytes:
        with told():
            try:
                if self._pieces is None or offset != self._offset:
                    self._start(offset)
                if not self._rest:
                    self._rest = memoryview(self._next_piece())
            except FileNotFoundError as error:
                raise StoreFailed("a file of the repository went away while it was read") from error
        taken, self._rest = bytes(self._rest[:length]), self._rest[length:]
        self._offset = offset + len(taken)
        if self._offset == self._end:
            self.close()
        return taken

    def _start(self, offset: int) -> None:
        end = self._end if offset < self._end else self.size
        self.close()
        try:
            found = obstore.get(self._client, self._key, options={"range": (offset, end)})
        except GenericError as error:
            if _NO_RANGE not in str(error):
                raise
            self._start_whole(offset)
            return
        self._pieces = iter(found.stream(min_chunk_size=_CHUNK))

    def _start_whole(self, offset: int) -> None:
        """Where the server knows no ranges: read the object from its beginning, pass over what is before."""
        self._pieces = iter(obstore.get(self._client, self._key).stream(min_chunk_size=_CHUNK))
        while offset:
            piece = self._next_piece()
            self._rest = memoryview(piece)[offset:]
            offset = max(0, offset - len(piece))

    def _next_piece(self) -> bytes:
        piece = next(self._pieces, b"") if self._pieces is not None else b""
        if not piece:
            raise StoreUnreachable("the object store cut a file short")
        return piece
