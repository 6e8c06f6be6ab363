"""How far a second copy is: the bytes that came into its directory, counted there.

restic tells of a copy in words alone, and how many packs of how many of one snapshot; a pack that is copied
may hold one byte that is needed, so what is counted is what was written."""

from __future__ import annotations

import os
import time
from pathlib import Path

from agents.events import Moved, Tell

# A look lists every pack of the second copy: 100,000 of them in a tenth of a second.
_PAUSE_S = 3.0
# A file that restic still writes has a longer name.
_NAME = 64


class Arrivals:
    """Counts the bytes of files that are new in the data of a repository since this was made. One that is
    elsewhere than in a directory of this machine has none."""

    def __init__(self, repository: Path) -> None:
        self._data = repository / "data"
        self._known = dict(self._list())
        self.bytes = 0

    def look(self) -> int:
        """Return how many bytes came."""
        for name, path in self._list():
            if name not in self._known:
                try:
                    self.bytes += os.stat(path).st_size
                except FileNotFoundError:  # it has its own name by now, and is counted at the next look
                    continue
                self._known[name] = path
        return self.bytes

    def _list(self) -> list[tuple[str, str]]:
        found = []
        for folder in self._data.iterdir() if self._data.is_dir() else ():
            with os.scandir(folder) as entries:
                found += [(each.name, each.path) for each in entries if len(each.name) == _NAME]
        return found


class Progress:
    """Tells how far a copy is: bytes, if somebody counts them, and snapshots of how many."""

    def __init__(self, tell: Tell, arrivals: Arrivals | None, total: int) -> None:
        self._tell, self._arrivals, self._total = tell, arrivals, total
        self._done, self._next_at = 0, 0.0

    def step(self) -> None:
        """Look again, if the last look was not just now."""
        if time.monotonic() >= self._next_at:
            self._say()
            self._next_at = time.monotonic() + _PAUSE_S

    def finish(self, done: int) -> None:
        """So many snapshots are there, read back."""
        self._done = done
        self._say()

    def _say(self) -> None:
        arrived = self._arrivals.look() if self._arrivals is not None else 0
        self._tell(Moved(arrived, self._done, 0, 0, None, self._total))
