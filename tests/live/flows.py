"""The flows as the tests drive them: one console, one repository a device, everything real."""

from __future__ import annotations

import atexit
import hashlib
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Protocol

from agents.backup import BackupOutcome, BackupRequest, KnownPoint, back_up
from agents.commands import Secret
from agents.events import Event, FileProblem, Said
from agents.facts import Instance
from agents.flow import Control, Unstoppable
from agents.plan import SourceRequest
from agents.plan.requests import Fallback
from agents.probe import ProbeRequest, probe
from agents.repositories import RepositoryPlace
from agents.restic.binary import Binary, find_binary
from agents.restic.repository import create, open_repository
from agents.resting import ANY_HOUR, Hours
from agents.restore import Conflict, Mode, RestoreOutcome, RestoreRequest, restore
from agents.restoring.requests import GENTLE
from agents.runner import Limits
from agents.session import Session
from agents.ssh import HostKey, connect
from tests.live.ground import Device
from tests.live.traces import find_doors, find_programs, find_traces

PATIENCE_S = 30.0
# When the restore points of the tests were made, for the names of copies.
MOMENT = datetime(2026, 11, 22, 14, 2, tzinfo=UTC)
VENV_BIN = Path(__file__).resolve().parents[2] / ".venv" / "bin"


@cache
def _template(binary: Binary) -> tuple[Secret, Path]:
    """Return the password and directory of an empty repository: made once, since its keys take seconds."""
    password, path = Secret(secrets.token_hex(16)), Path(tempfile.mkdtemp()) / "repository"
    create(path, password, Secret(secrets.token_hex(16)), binary)
    atexit.register(shutil.rmtree, path.parent)
    return password, path


class Console:
    """A console with one device's repository. Keeps every event."""

    is_local = False

    def __init__(self, device: Device, folder: Path, *, user: str = "root") -> None:
        self.device = device
        self.user = user
        self.pinned: list[HostKey] | None = None
        self.id = f"t{secrets.token_hex(4)}"
        self.binary: Binary = find_binary([VENV_BIN])
        self.password, template = _template(self.binary)
        self.place = RepositoryPlace(folder / "repository", folder / "journals", self.password)
        shutil.copytree(template, self.place.path)
        self.events: list[Event] = []
        self.told = threading.Event()

    def tell(self, event: Event) -> None:
        self.events.append(event)
        self.told.set()

    def open_session(self) -> Session:
        keys = self.device.host_keys[:1] if self.pinned is None else self.pinned
        return connect(
            self.device.target(self.user), private_key=self.device.key_pair.private_key, host_keys=keys
        )

    def back_up(
        self,
        *paths: str | Path | SourceRequest,
        fallback: str = "fail",
        excludes: Sequence[str] = (),
        control: Control | None = None,
        known: tuple[KnownPoint, ...] = (),
        seen: tuple[Instance, ...] = (),
        hours: Hours = ANY_HOUR,
        limits: Limits | None = None,
    ) -> BackupOutcome:
        accepts: Fallback = "accept-live" if fallback == "accept-live" else "fail"
        sources = tuple(
            path
            if isinstance(path, SourceRequest)
            else SourceRequest(str(path), tuple(excludes), if_hot_impossible=accepts)
            for path in paths
        )
        request = BackupRequest(
            self.id,
            secrets.token_hex(16),
            self.device.name,
            sources,
            self.place,
            self.binary,
            is_local=self.is_local,
            known=known,
            seen=seen,
            hours=hours,
            limits=limits or Limits(),
        )
        return back_up(request, self.open_session, tell=self.tell, control=control or Unstoppable())

    def restore(
        self,
        restic_id: str,
        folder: str | Path,
        target: str | Path | None,
        *,
        names: Sequence[str] = (),
        conflict: Conflict = Conflict.SKIP,
        mode: Mode = Mode.MERGE,
        is_whole_system: bool = True,
        size_bytes: int = 0,
        control: Control | None = None,
        limits: Limits = GENTLE,
    ) -> RestoreOutcome:
        """Restore all of `folder`, or its entries `names`."""
        request = RestoreRequest(
            self.id,
            secrets.token_hex(16),
            self.place,
            self.binary,
            self.is_local,
            restic_id,
            tuple(f"{str(folder).rstrip('/')}/{name}" for name in names),
            str(folder),
            None if target is None else str(target),
            conflict,
            mode,
            is_whole_system,
            MOMENT,
            size_bytes,
            limits=limits,
        )
        return restore(request, self.open_session, tell=self.tell, control=control or Unstoppable())

    def probe(self) -> None:
        request = ProbeRequest(self.id, secrets.token_hex(16), self.binary)
        probe(request, self.open_session, tell=self.tell, control=Unstoppable())

    @property
    def sentences(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Said)]

    @property
    def problems(self) -> list[FileProblem]:
        return [event for event in self.events if isinstance(event, FileProblem)]

    def repository_bytes(self) -> int:
        return sum(file.stat().st_size for file in (self.place.path / "data").rglob("*") if file.is_file())

    def count_restore_points(self) -> int:
        with open_repository(self.place.path, self.place.password, self.binary) as repository:
            return len(repository.list_snapshots())

    def check_repository(self) -> None:
        """Read every byte of the repository. Raise RepositoryBroken when something is wrong."""
        with open_repository(self.place.path, self.place.password, self.binary) as repository:
            repository.check(read_data=True)


class KnowsDevice(Protocol):
    """Whoever works on a device under the name `id`."""

    @property
    def device(self) -> Device: ...

    @property
    def id(self) -> str: ...


def assert_device_is_clean(
    console: KnowsDevice,
    *,
    own: Collection[int] = (),
    is_connected: bool = False,
    patience_s: float = PATIENCE_S,
) -> None:
    """Nothing of this console is on the device: no process but those that are the device's `own`, no mount,
    snapshot, directory, cgroup, and nothing that listens. A console that was stopped or cut off
    `is_connected`: sshd keeps its connection, and with it the tunnel's port."""
    device, quiet_by = console.device, time.monotonic() + patience_s
    while left := find_programs(device, console.id, own) + ([] if is_connected else find_doors(device, own)):
        if time.monotonic() > quiet_by:
            break
        time.sleep(0.1)  # a look runs programs, which others wait for
    if left := left + find_traces(device, console.id):
        raise AssertionError(f"the device is not clean: {left}")


def wait_until_clean(
    console: KnowsDevice,
    *,
    own: Callable[[], Collection[int]] = tuple,
    is_connected: bool = False,
    timeout_s: float = 60,
) -> None:
    """Wait for a device that heals by itself. Raise AssertionError, with what is left, when it does not."""
    clean_by = time.monotonic() + timeout_s
    while True:
        try:
            # Its own processes come and go meanwhile: they are asked for again soon.
            return assert_device_is_clean(console, own=own(), is_connected=is_connected, patience_s=0.5)
        except AssertionError:
            if time.monotonic() > clean_by:
                raise
            time.sleep(0.2)


def picture_of(root: Path) -> dict[bytes, tuple[object, ...]]:
    """Given a folder, return everything about each file in it that a restore must bring back."""
    picture: dict[bytes, tuple[object, ...]] = {}
    top = os.fsencode(root)
    for folder, folders, files in os.walk(top):
        for name in [*folders, *files]:
            path = os.path.join(folder, name)
            picture[os.path.relpath(path, top)] = _facts_of(path)
    return picture


def _facts_of(path: bytes) -> tuple[object, ...]:
    facts = os.lstat(path)
    content: object = None
    if os.path.islink(path):
        content = os.readlink(path)
    elif os.path.isfile(path):
        with open(path, "rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
    attributes = {
        name: os.getxattr(path, name, follow_symlinks=False)
        for name in sorted(os.listxattr(path, follow_symlinks=False))
    }
    links = facts.st_nlink if os.path.isfile(path) else 1
    return facts.st_mode, facts.st_uid, facts.st_gid, facts.st_mtime_ns, links, content, attributes
