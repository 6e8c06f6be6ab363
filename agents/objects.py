"""A repository in an object store, as the server's own restic sees it: through our gateway, on a socket of
this process. So no secret of the account reaches a child, and what the store says comes out as our errors.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from agents.errors import RepositoryBroken
from agents.gateway import Gateway, Journal, KeyFile, Kind, Rights, Target, make_credentials
from agents.gateway.objects import ObjectStore
from agents.gateway.objects_account import Account, connect
from agents.gateway.objects_hiding import WithoutSnapshots
from agents.gateway.store import Store
from agents.local import open_door
from agents.restic.keys import Key
from agents.restic.location import Shown

# The config comes last: who sees it sees a whole repository.
_ORDER = (Kind.KEYS, Kind.CONFIG)


@dataclass(frozen=True, slots=True)
class ObjectLocation:
    """A part of an object store. `spool` is a directory of this machine for files on their way. Implements
    agents.restic.location.Location."""

    account: Account
    folder: str
    spool: Path
    is_conditional: bool = True

    def open_store(self) -> ObjectStore:
        """Open the repository's files. Raise StoreFailed when it is not there, or not reached."""
        store = self._store()
        store.require()
        return store

    def is_there(self) -> bool:
        """Return whether there is a repository. Raise StoreFailed when that cannot be known."""
        return self._store().size(Target(Kind.CONFIG, "")) is not None

    def read_keys(self) -> list[bytes]:
        store = self.open_store()
        return [_read(store, Target(Kind.KEYS, name)) for name, _ in list(store.list(Kind.KEYS))]

    def remove_lock(self, name: str) -> None:
        self._store().remove(Target(Kind.LOCKS, name))

    @contextmanager
    def show(self, key: Key, *, without_snapshots: bool = False) -> Iterator[Shown]:
        with show_store(self.open_store(), key, without_snapshots=without_snapshots) as shown:
            yield shown

    @contextmanager
    def drafting(self) -> Iterator[Path]:
        if self.is_there():
            raise RepositoryBroken("there is a repository in this part of the object store already")
        with TemporaryDirectory(prefix="hotfleet-draft-") as folder:
            draft = Path(folder) / "repository"
            draft.mkdir(mode=0o700)
            yield draft
            store = self._store()
            for kind in _ORDER:
                for file in [draft / kind] if kind is Kind.CONFIG else sorted((draft / kind).iterdir()):
                    _send(store, Target(kind, "" if kind is Kind.CONFIG else file.name), file.read_bytes())

    def _store(self) -> ObjectStore:
        self.spool.mkdir(mode=0o700, parents=True, exist_ok=True)
        return ObjectStore(connect(self.account), self.folder, self.spool, is_conditional=self.is_conditional)


@contextmanager
def show_store(store: Store, key: Key, *, without_snapshots: bool = False) -> Iterator[Shown]:
    """Show the repository in a store to restic with one key, until the context ends."""
    if without_snapshots:
        store = WithoutSnapshots(store)
    credentials = make_credentials()
    # Who writes here needs no journal: the console makes restic's index whole before each of its runs.
    with (
        TemporaryDirectory(prefix="hotfleet-journal-") as folder,
        Journal(Path(folder) / "all") as journal,
    ):
        gateway = Gateway(
            store,
            credentials,
            rights=Rights.SERVER,
            journal=journal,
            run_key=KeyFile(key.name, key.content),
        )
        try:
            with open_door(gateway.serve) as door:
                user = f"{credentials.user}:{credentials.password.reveal()}"
                url = door.repository_url.replace("http+unix://", f"http+unix://{user}@")
                yield Shown(url, lambda: gateway.store_failure)
        finally:
            gateway.close()


def _send(store: ObjectStore, target: Target, content: bytes) -> None:
    upload = store.begin(target)
    try:
        upload.write(content)
        if not upload.publish():
            raise RepositoryBroken("somebody else made a repository in this part of the object store")
    finally:
        upload.discard()


def _read(store: ObjectStore, target: Target) -> bytes:
    reader = store.open(target)
    if reader is None:
        raise RepositoryBroken("a key of the repository went away while it was read")
    try:
        content = b""
        while piece := reader.read(len(content), 1 << 20):
            content += piece
        return content
    finally:
        reader.close()
