"""A repository on this machine, read and mended by the console itself.

Opening restic's own key costs 0.5 to 0.7 s of scrypt in every start of restic. So the console has a cheap key
(see `keys`), opens it in this process, and shows restic the repository with one run key (`location`): of
a directory a *view* of links to it. The password itself never reaches a child.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from agents.commands import Command, Result, Secret
from agents.errors import AgentError, ProtocolBroken, RepositoryBroken
from agents.restic import arguments, children
from agents.restic.arguments import Restic
from agents.restic.binary import Binary
from agents.restic.fields import Fields, parse_json
from agents.restic.keys import (
    Key,
    MasterKey,
    make_cheap_key,
    make_run_key,
    open_master_key,
    open_one_of,
)
from agents.restic.location import Location, Shown, locate, sync_folder
from agents.restic.messages import BackupSummary, Decoder, only_summary, parse_backup_summary
from agents.restic.outcomes import Outcome, judge
from agents.restic.trees import Node, parse_tree
from agents.restic.walking import Head, Walked, parse_head, read_lines, walk

_NAME = re.compile(r"[0-9a-f]{64}")
_READ_TIMEOUT_S = 300.0


class FolderTooLarge(AgentError):
    """A folder has more entries than can be shown."""

    code = "folder-too-large"


class PathMissing(AgentError):
    """The restore point holds no such path."""

    code = "path-missing"


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """What restic recorded about one restore point. Texts come from the device."""

    snapshot_id: str
    time: datetime | None
    tree: str
    paths: tuple[str, ...]
    hostname: str
    tags: tuple[str, ...]
    parent: str
    program_version: str
    summary: BackupSummary | None


class Repository:
    """An open repository. Threads may share it; each call is one child, started and awaited by its thread.

    `url` and `password` open it for a restic of this machine, as long as it is open here."""

    def __init__(self, binary: Binary, master: MasterKey, location: Location, shown: Shown, key: Key) -> None:
        """Use `open_repository`."""
        self._master = master
        self._location = location
        self._find_failure = shown.find_failure
        self._reading = Restic(str(binary.path), takes_locks=False)
        self._writing = Restic(str(binary.path), retry_lock_s=30)
        self.url, self.password = shown.url, key.password
        self._variables = arguments.environment(self.url, key.password)

    def make_run_key(self) -> Key:
        """Return a new key for one run."""
        return make_run_key(self._master)

    def read_id(self) -> str:
        """Return the repository's own id. Raise an AgentError when its record cannot be read."""
        result = self._judged(arguments.cat_config(self._reading))
        return Fields.parse(result.stdout, "record of the repository").text("id")

    def read_back(self, snapshot_id: str) -> SnapshotInfo:
        """Return a restore point after reading its record and its root folder from the disk.

        Raise RepositoryBroken when it is not there or not whole."""
        result = self._run(arguments.list_root(self._reading, snapshot_id))
        if not result.is_success:
            raise RepositoryBroken("the restore point cannot be read back", detail=result.tail)
        return parse_snapshot(Fields.parse(result.stdout.split(b"\n", 1)[0], "restore point"))

    def list_snapshots(self) -> list[SnapshotInfo]:
        """Return every restore point, in no order. Raise an AgentError when restic fails."""
        result = self._judged(arguments.list_snapshots(self._reading))
        records = parse_json(result.stdout, "list of restore points")
        if not isinstance(records, list):
            raise ProtocolBroken("restic's list of restore points is no list", detail=result.text[:500])
        return [parse_snapshot(Fields(record, "restore point")) for record in records]

    def list_folder(self, snapshot_id: str, folder: str) -> list[Node]:
        """Return the entries of one folder ("/" is the root), names exact.

        Raise PathMissing when there is no such folder, FolderTooLarge when it has some 200,000 entries."""
        try:
            result = self._run(arguments.cat_tree(self._reading, snapshot_id, folder))
        except children.PrintedTooMuch as error:
            raise FolderTooLarge(
                "The folder holds too many entries to be shown.", remedy="Restore the whole folder instead."
            ) from error
        if result.status == 1 and (b"not found" in result.stderr or b"not a directory" in result.stderr):
            raise PathMissing(
                "The restore point holds no such folder.",
                remedy="If it is a single file, open the folder above it.",
                detail=result.tail,
            )
        judge(result.status, result.tail)
        return parse_tree(result.stdout)

    @contextmanager
    def walk(self, snapshot_id: str) -> Iterator[tuple[Head, Iterator[Walked]]]:
        """Return what a restore point says first, and an iterator over every node of it (see `walking`).

        Leaving the context ends restic, whether all was read or not. The iterator raises an AgentError when
        restic fails: what came before is then a part and not the whole."""
        with ExitStack() as stack:

            def open_lines(command: Command) -> Iterator[bytes]:
                pieces = self._stream(command)
                return read_lines(stack.enter_context(closing(pieces)))

            lines = open_lines(arguments.list_all(self._reading, snapshot_id))
            head = parse_head(next(lines, b""))
            yield (
                head,
                walk(lines, lambda: open_lines(arguments.list_paths(self._reading, snapshot_id))),
            )

    def dump_file(self, snapshot_id: str, path: str) -> Generator[bytes, None, None]:
        """Return the content of one file. Close the iterator when it is not read to its end.

        Raise ResticFailed, perhaps after some pieces: then what was passed on is not the file."""
        return self._stream(arguments.dump(self._reading, snapshot_id, path))

    def dump_tar(self, snapshot_id: str, folder: str) -> Iterator[bytes]:
        """Return a folder as a tar archive. Same rules as `dump_file`."""
        return self._stream(arguments.dump(self._reading, snapshot_id, folder))

    def store(self, paths: Sequence[str], *, host: str, tags: Sequence[str]) -> str:
        """Store files of this machine as one snapshot and return its id. Raise an AgentError when restic
        fails or could not read one of them."""
        with tempfile.NamedTemporaryFile() as listed:
            listed.write(arguments.files_from_raw(paths))
            listed.flush()
            command = arguments.backup(
                self._writing, paths, host=host, tags=tags, scan=False, paths_file=listed.name
            )
            result = self._run(command, timeout_s=6 * 3600)
        if judge(result.status, result.tail) is not Outcome.SUCCESS:
            raise RepositoryBroken("files of the console could not be read", detail=result.tail)
        decoder = Decoder("backup")
        said = [*decoder.feed(result.stdout), *decoder.end()]
        return only_summary([each for each in said if isinstance(each, BackupSummary)]).snapshot_id

    def adopt(self, lock_names: Sequence[str]) -> None:
        """Make the packs of a run that was cut off part of the index, so that the next run does not send them
        again: remove the locks that the run's journal names and those of our own dead programs (an adoption
        that was killed holds the repository for itself), then repair the index.

        Only while nobody else works on the repository; raise RepositoryLocked when somebody does. May be
        called twice."""
        for name in lock_names:
            if _NAME.fullmatch(name) is None:
                raise ValueError(f"not the name of a lock: {name!r}")
            self._location.remove_lock(name)
        self._judged(arguments.unlock(self._reading))
        self._judged(arguments.repair_index(self._writing), timeout_s=6 * 3600)

    def unlock(self) -> None:
        """Remove the locks of our own dead programs, and those not renewed for half an hour. Who works
        keeps his."""
        self._judged(arguments.unlock(self._reading))

    def forget(self, snapshot_ids: Sequence[str]) -> None:
        """Remove these restore points. Raise an AgentError when restic fails, also when one is not there.

        Words of a command line have an end: at most some thousands at a time."""
        self._judged(arguments.forget(self._writing, snapshot_ids), timeout_s=3600)

    def prune(self) -> None:
        """Give back the space that no restore point uses. Raise an AgentError when restic fails."""
        self._judged(arguments.prune(self._writing), timeout_s=24 * 3600)

    def check(self, *, read_data: bool = False, part: tuple[int, int] | None = None) -> None:
        """Check the repository; with `read_data` or `part` = (n, of) the content of the packs too.

        Raise RepositoryBroken with restic's words when something is wrong."""
        command = arguments.check(self._writing, read_data=read_data, part=part)
        result = self._run(command, timeout_s=24 * 3600)
        if result.status == 1:
            raise RepositoryBroken("the check of the repository found errors", detail=result.tail)
        judge(result.status, result.tail)

    def call(
        self,
        make: Callable[[Restic], Command],
        *,
        writes: bool = False,
        timeout_s: float = _READ_TIMEOUT_S,
        watch: children.Watch | None = None,
        variables: children.Variables | None = None,
        tail_bytes: int = 4000,
        folder: Path | None = None,
    ) -> Result:
        """Run restic with what `make` makes of it, and return how it ended; the status is not judged. Without
        `writes` it takes no lock. `watch` is told what it prints, and may end it by raising.

        Raise StoreFailed when restic failed because the storage did."""
        restic = self._writing if writes else self._reading
        result = children.run(
            make(restic),
            {**self._variables, **(variables or {})},
            timeout_s=timeout_s,
            watch=watch,
            tail_bytes=tail_bytes,
            folder=folder,
        )
        return self._told(result)

    def stream(self, make: Callable[[Restic], Command]) -> Generator[bytes, None, None]:
        """Run restic without a lock and return what it prints, piece by piece. Closing the iterator kills
        it. Raise ResticFailed at the end when it failed."""
        return self._stream(make(self._reading))

    def _judged(self, command: Command, *, timeout_s: float = _READ_TIMEOUT_S) -> Result:
        result = self._run(command, timeout_s=timeout_s)
        judge(result.status, result.tail)
        return result

    def _run(self, command: Command, *, timeout_s: float = _READ_TIMEOUT_S) -> Result:
        return self._told(children.run(command, self._variables, timeout_s=timeout_s))

    def _stream(self, command: Command) -> Generator[bytes, None, None]:
        try:
            yield from children.stream(command, self._variables)
        except AgentError as error:
            if (failure := self._find_failure()) is not None:
                raise failure from error
            raise

    def _told(self, result: Result) -> Result:
        """Raise what the storage could not do, when restic failed: that says more than restic's words."""
        if not result.is_success and (failure := self._find_failure()) is not None:
            raise failure
        return result


@contextmanager
def open_repository(
    place: Path | Location, password: Secret, binary: Binary, *, without_snapshots: bool = False
) -> Iterator[Repository]:
    """Open a repository (one scrypt) until the context ends. `without_snapshots`: as if
    it held none; those that are stored are gone with the context, and their data stays.

    Raise RepositoryBroken when it is not there or the password does not open it."""
    location = locate(place)
    master = open_one_of(location.read_keys(), password)
    key = make_run_key(master)
    with location.show(key, without_snapshots=without_snapshots) as shown:
        yield Repository(binary, master, location, shown, key)


def create(
    place: Path | Location,
    password: Secret,
    recovery_password: Secret,
    binary: Binary,
    like: Mapping[str, str | Secret] | None = None,
) -> str:
    """Create a repository in a place that is missing or empty, which both passwords open; return its id. One
    that is `like` another (`arguments.from_variables`) cuts files into the same pieces.

    `password` is the console's, random, 128 bits or more: its key is cheap to open. The repository gets its
    name only when it is whole. Raise RepositoryBroken when the place is in use, an AgentError when restic
    fails."""
    with locate(place).drafting() as draft:
        return _fill(draft, password, recovery_password, binary, like or {})


def _fill(
    path: Path,
    password: Secret,
    recovery_password: Secret,
    binary: Binary,
    like: Mapping[str, str | Secret],
) -> str:
    variables = {**arguments.environment(str(path), recovery_password), **like}
    command = arguments.create(Restic(str(binary.path)), as_other=bool(like))
    result = children.run(command, variables, timeout_s=_READ_TIMEOUT_S)
    judge(result.status, result.tail)
    repository_id = Fields.parse(result.stdout, "answer to init").text("id")
    if _NAME.fullmatch(repository_id) is None:
        raise ProtocolBroken("restic did not name the repository that it made", detail=result.text[:500])
    master = open_master_key(path, recovery_password)
    _write_key(path / "keys", make_cheap_key(master, password, user="console"))
    return repository_id


def _write_key(folder: Path, key: Key) -> None:
    fd = os.open(folder / key.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
    with open(fd, "wb") as file:
        file.write(key.content)
        file.flush()
        os.fsync(fd)
    sync_folder(folder)


def parse_snapshot(fields: Fields) -> SnapshotInfo:
    """Given a restore point's record, return it. Raise ProtocolBroken when it names no tree or id."""
    info = SnapshotInfo(
        snapshot_id=fields.text("id"),
        time=fields.moment("time"),
        tree=fields.text("tree"),
        paths=fields.texts("paths"),
        hostname=fields.text("hostname"),
        tags=fields.texts("tags"),
        parent=fields.text("parent"),
        program_version=fields.text("program_version"),
        summary=parse_backup_summary(fields.fields("summary")) if fields.has("summary") else None,
    )
    if _NAME.fullmatch(info.snapshot_id) is None or _NAME.fullmatch(info.tree) is None:
        raise ProtocolBroken("restic's record of a restore point is not whole")
    return info
