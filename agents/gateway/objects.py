"""A repository in a part of an object store, in restic's own layout; a published object is durable.

How a file comes in: (1) a temporary file of this machine that has no name; (2) one PUT of it that succeeds
only when the name is free. An object appears whole or not at all, and the store answers when it is durable.
There is no upload in parts: their end cannot be made conditional with this client, and the largest file
(144 MiB) is far below what every store takes at once. The file is mapped, not read: memory stays small.

Some compatible servers ignore the condition (`is_conditional` is False for them: the storage's test finds
out). There we look first and once more afterwards. That is enough: a name is the SHA-256 of its content, so
that two who write one name at once write the same bytes.
"""

from __future__ import annotations

import mmap
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Self

import obstore
from obstore.exceptions import AlreadyExistsError, PreconditionError

from agents.gateway.objects_account import Client
from agents.gateway.objects_errors import told
from agents.gateway.objects_reading import ObjectReader
from agents.gateway.store import StoreFailed, StoreUnreachable
from agents.gateway.target import Kind, Target, is_name

# Later than this a failed PUT is not begun anew: restic on the device would have given up by then.
RETRY_UNTIL_S = 90.0


class ObjectStore:
    """One repository: `folder` of what the client sees. Threads may share it. `spool` is a directory of this
    machine for files on their way."""

    def __init__(
        self,
        client: Client,
        folder: str,
        spool: Path,
        *,
        is_conditional: bool,
        retry_until_s: float | None = None,
    ) -> None:
        """Ask nobody anything yet."""
        self.retry_until_s = RETRY_UNTIL_S if retry_until_s is None else retry_until_s
        self.client = client
        self.folder = folder
        self.spool = spool
        self.is_conditional = is_conditional
        self.mutex = threading.Lock()

    def require(self) -> None:
        """Look whether the repository is there. Raise StoreFailed when it is not."""
        if self.size(Target(Kind.CONFIG, "")) is None:
            for _ in self.list(Kind.KEYS):  # that an object is not there does not say whether its bucket is
                break
            raise StoreFailed(
                "there is no repository in this part of the object store",
                remedy="Look at bucket and prefix under Repositories: was something removed there?",
            )

    def begin(self, target: Target) -> ObjectUpload:
        """Return an upload for `target`. Raise StoreFailed when no temporary file can be made."""
        return ObjectUpload(self, target)

    def open(self, target: Target) -> ObjectReader | None:
        """Return the object, or None when there is none."""
        size = self.size(target)
        return None if size is None else ObjectReader(self.client, self.key_of(target), size)

    def size(self, target: Target) -> int | None:
        """Return the object's size, or None when there is none."""
        with told(), suppress(FileNotFoundError):
            return int(obstore.head(self.client, self.key_of(target))["size"])
        return None

    def list(self, kind: Kind) -> Iterator[tuple[str, int]]:
        """Return name and size of every object of `kind` that has a name of restic's, in its place."""
        with told():
            for page in obstore.list(self.client, f"{self.folder}/{kind}", chunk_size=1000):
                for found in page:
                    name = str(found["path"]).rpartition("/")[2]
                    if is_name(name) and found["path"] == self.key_of(Target(kind, name)):
                        yield name, int(found["size"])

    def settle(self, target: Target) -> None:
        """Does nothing: an object that can be seen is durable."""

    def remove(self, target: Target) -> None:
        """Remove an object; does nothing when there is none."""
        if target.name:
            with told(), suppress(FileNotFoundError):
                obstore.delete(self.client, self.key_of(target))

    def move_out(self, target: Target, folder: Path) -> None:
        """Move an object beside the repository, into `<repository>.quarantine/<name of folder>/`; does
        nothing when it is not there."""
        if target.name:
            with told(), suppress(FileNotFoundError):
                aside = f"{self.folder}.quarantine/{folder.name}/{target.kind}-{target.name}"
                obstore.copy(self.client, self.key_of(target), aside)
                obstore.delete(self.client, self.key_of(target))

    def remove_temporary(self) -> int:
        """Return 0: what was not sent whole lies nowhere."""
        return 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def key_of(self, target: Target) -> str:
        """Return where restic keeps a file."""
        if target.kind is Kind.CONFIG or not target.name:
            return f"{self.folder}/{target.kind}"
        between = f"{target.name[:2]}/" if target.kind is Kind.DATA else ""
        return f"{self.folder}/{target.kind}/{between}{target.name}"


class ObjectUpload:
    """A file without a name on this machine, then one PUT. Used by one thread."""

    def __init__(self, store: ObjectStore, target: Target) -> None:
        self._store = store
        self._key = store.key_of(target)
        self._is_published = False
        try:
            self._file = tempfile.TemporaryFile(dir=store.spool)  # noqa: SIM115 - `discard` closes it
        except OSError as error:
            raise _spool_failed(error) from error

    def write(self, data: bytes) -> None:
        """Write all of `data`. Raise StoreFailed when this machine's disk cannot."""
        try:
            self._file.write(data)
        except OSError as error:
            raise _spool_failed(error) from error

    def publish(self) -> bool:
        """Send the file; durable when this returns True. Return False when the name is taken.

        A PUT whose answer was lost is sent again: a name that is taken then was taken by the first one."""
        give_up_at = time.monotonic() + self._store.retry_until_s
        pause_s = 0.5
        is_repeat = False
        while True:
            try:
                is_new = self._put()
                if is_repeat and not is_new:
                    self._require_whole()
                self._is_published = is_new or is_repeat
                return self._is_published
            except StoreUnreachable:
                if time.monotonic() + pause_s > give_up_at:
                    raise
            is_repeat = True
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, 10.0)

    def discard(self) -> None:
        """Forget the file. May be called twice."""
        self._file.close()

    def _put(self) -> bool:
        try:
            self._file.flush()
            size = self._file.tell()
        except OSError as error:
            raise _spool_failed(error) from error
        if not size:
            return self._put_bytes(b"", 0)
        # Not closed here: a client that failed may hold it for a moment longer.
        return self._put_bytes(mmap.mmap(self._file.fileno(), size, access=mmap.ACCESS_READ), size)

    def _put_bytes(self, content: bytes | mmap.mmap, size: int) -> bool:
        client, key = self._store.client, self._key
        with nullcontext() if self._store.is_conditional else self._store.mutex, told():
            try:
                if self._store.is_conditional:
                    obstore.put(client, key, content, mode="create")
                    return True
                with suppress(FileNotFoundError):
                    obstore.head(client, key)
                    return False
                obstore.put(client, key, content, mode="overwrite", use_multipart=False)
            except (AlreadyExistsError, PreconditionError):
                return False
            except FileNotFoundError as error:
                raise StoreFailed("the object store does not know the bucket") from error
            if obstore.head(client, key)["size"] != size:
                raise StoreFailed("what was stored in the object store is not what was sent")
            return True

    def _require_whole(self) -> None:
        """Raise StoreFailed when what lies at the place is not what was to be sent: a PUT that was cut off
        may leave a part of it, and nobody may take that for stored."""
        with told():
            try:
                found = obstore.head(self._store.client, self._key)["size"]
            except FileNotFoundError:
                raise StoreUnreachable("a file in the object store went away just now") from None
        if found != self._file.tell():
            raise StoreFailed("a file in the object store is not whole: it was cut off when it was sent")


def _spool_failed(error: OSError) -> StoreFailed:
    return StoreFailed(
        f"a file on its way to the object store could not be kept on the console: {error.strerror or error}",
        remedy="Free space on the disk of HOTFLEET_HOME on the console's machine.",
    )
