"""A repository whose reading is counted, as the server's own restic sees it: through our gateway, in a
directory too, since restic does not say how much it read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from agents.gateway.store import OpenStore
from agents.objects import show_store
from agents.restic.keys import Key
from agents.restic.location import Location, Shown


@dataclass(frozen=True, slots=True)
class MeteredLocation:
    """Implements agents.restic.location.Location. `open_store` opens its files so that they are counted."""

    plain: Location
    open_store: Callable[[], OpenStore]

    def read_keys(self) -> list[bytes]:
        return self.plain.read_keys()

    @contextmanager
    def show(self, key: Key, *, without_snapshots: bool = False) -> Iterator[Shown]:
        with (
            self.open_store() as store,
            show_store(store, key, without_snapshots=without_snapshots) as shown,
        ):
            yield shown

    def remove_lock(self, name: str) -> None:
        self.plain.remove_lock(name)

    def drafting(self) -> AbstractContextManager[Path]:
        return self.plain.drafting()
