"""A file that lies on no disk."""

from __future__ import annotations


class MemoryReader:
    """Implements agents.gateway.store.Reader."""

    def __init__(self, content: bytes) -> None:
        self._content, self.size = content, len(content)

    def expect(self, end: int) -> None:
        return None

    def read(self, offset: int, length: int) -> bytes:
        return self._content[offset : offset + length]

    def close(self) -> None:
        return None
