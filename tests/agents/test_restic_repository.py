"""Repositories on this machine: created, browsed, read, mended."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.commands import Command, Result, to_bytes
from agents.errors import AgentError, CommandFailed, RepositoryBroken, ResticFailed, ToolMissing
from agents.restic import arguments, children, shipping
from agents.restic.binary import Binary, check_machine, find_binary, needs_shipping, parse_version
from agents.restic.outcomes import RepositoryLocked
from agents.restic.repository import FolderTooLarge, PathMissing, Repository, create, open_repository
from tests.agents.gateway_ground import PASSWORD, RECOVERY, _template, binary, repository_path
from tests.backupsite.serve.processes import is_running, wait_until

__all__ = ["_template", "binary", "repository_path"]

NAMES = [b"caf\xe9", b"caf\xef\xbf\xbd", b"new\nline", b' "q"\\ ', b"-rf", b"plain"]


@pytest.fixture
def repository(repository_path: Path, binary: Binary) -> Iterator[Repository]:
    with open_repository(repository_path, PASSWORD, binary) as opened:
        yield opened


@pytest.fixture
def point(repository_path: Path, binary: Binary, tmp_path: Path) -> str:
    """The id of a restore point of `tmp_path/source`, made as an operator would without Hotfleet."""
    source = tmp_path / "source"
    (source / "folder").mkdir(parents=True)
    for name in NAMES:
        (source / os.fsdecode(name)).write_bytes(b"this is " + name)
    (source / "large").write_bytes(os.urandom(3 << 20))
    (source / "folder" / "in").write_text("in")
    environment = {"RESTIC_REPOSITORY": str(repository_path), "RESTIC_PASSWORD": RECOVERY.reveal()}
    words = [str(binary.path), "--no-cache", "backup", "--quiet", "--", str(source)]
    subprocess.run(words, env=environment, check=True)
    [snapshot] = (repository_path / "snapshots").iterdir()
    return snapshot.name


def test_folders_are_listed_with_exact_names(repository: Repository, point: str, tmp_path: Path) -> None:
    nodes = repository.list_folder(point, str(tmp_path / "source"))
    assert {to_bytes(node.name) for node in nodes} == {*NAMES, b"large", b"folder"}
    assert [node.name for node in repository.list_folder(point, "/")] == ["tmp"]
    [node] = repository.list_folder(point, str(tmp_path / "source" / "folder"))
    assert (node.name, node.kind, node.size) == ("in", "file", 2)


@pytest.mark.parametrize("folder", ["/missing", "/tmp/missing", "/tmp/../etc"])
def test_a_missing_folder_is_said_to_be_missing(repository: Repository, point: str, folder: str) -> None:
    with pytest.raises(PathMissing):
        repository.list_folder(point, folder)


def test_a_file_is_no_folder(repository: Repository, point: str, tmp_path: Path) -> None:
    with pytest.raises(PathMissing):
        repository.list_folder(point, str(tmp_path / "source" / "large"))


def test_files_and_folders_are_read(repository: Repository, point: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in (*NAMES, b"large"):
        path = source / os.fsdecode(name)
        assert b"".join(repository.dump_file(point, str(path))) == path.read_bytes()
    archive = io.BytesIO(b"".join(repository.dump_tar(point, str(source))))
    with tarfile.open(fileobj=archive) as tar:
        contents = {
            os.path.basename(member.name): tar.extractfile(member) for member in tar if member.isfile()
        }
    large = contents["large"]
    assert large is not None and large.read() == (source / "large").read_bytes()
    assert {os.fsencode(name) for name in contents} >= set(NAMES)


def test_reading_what_is_missing_fails(repository: Repository, point: str) -> None:
    with pytest.raises(ResticFailed):
        b"".join(repository.dump_file(point, "/missing"))


def test_a_download_that_is_given_up_ends_its_child(
    repository: Repository, point: str, tmp_path: Path, others: set[str]
) -> None:
    pieces = repository.dump_file(point, str(tmp_path / "source" / "large"))
    assert next(pieces)
    pieces.close()  # type: ignore[attr-defined]  # a generator, as its docstring says
    assert set(_children_of(os.getpid())) <= others


def test_a_child_dies_with_its_parent(binary: Binary, tmp_path: Path) -> None:
    program = (
        "import sys; from agents.commands import Command; from agents.restic import children\n"
        "for piece in children.stream(Command.of('sh', '-c', 'echo $$; exec sleep 600'), {}):\n"
        "    print(piece.decode(), flush=True)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=Path.cwd())
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    wait_until(lambda: not is_running(child), 60, "the end of the child")


def test_a_child_gets_nothing_of_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTIC_PASSWORD_COMMAND", "touch evil")
    result = children.run(Command.of("env"), {"A": PASSWORD}, timeout_s=60)
    names = {line.split("=")[0] for line in result.text.splitlines()}
    assert names == {"PATH", "HOME", "A"}


def test_a_child_that_hangs_or_talks_too_much_is_stopped(others: set[str]) -> None:
    with pytest.raises(ResticFailed):
        children.run(Command.of("sleep", "600"), {}, timeout_s=0.2)
    with pytest.raises(AgentError):
        children.run(Command.of("head", "-c", "2000", "/dev/zero"), {}, timeout_s=60, limit_bytes=1000)
    assert set(_children_of(os.getpid())) <= others


def test_a_child_that_prints_without_end_is_stopped_before_the_disk_is_full(others: set[str]) -> None:
    with pytest.raises(children.PrintedTooMuch):  # another error when its time is over
        children.run(Command.of("sh", "-c", "echo x; exec yes"), {}, timeout_s=60, limit_bytes=1000)
    assert set(_children_of(os.getpid())) <= others


def test_a_folder_that_is_too_large_says_what_to_do(
    repository: Repository, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = children.run
    monkeypatch.setattr(children, "run", lambda *words, **named: run(*words, **named, limit_bytes=10))
    with pytest.raises(FolderTooLarge) as caught:
        repository.list_folder(point, "/")
    assert "Restore" in caught.value.remedy


def test_a_new_repository_has_two_keys_and_is_whole(binary: Binary, tmp_path: Path) -> None:
    path = tmp_path / "below" / "new"
    killed = path.with_name(f".{path.name}.0123456789abcdef")  # what a start that was killed left
    (killed / "data").mkdir(parents=True)
    repository_id = create(path, PASSWORD, RECOVERY, binary)
    assert not killed.exists()
    assert len(repository_id) == 64
    assert len(list((path / "keys").iterdir())) == 2
    assert [entry.name for entry in path.parent.iterdir()] == ["new"]
    assert path.stat().st_mode & 0o777 == 0o700
    with pytest.raises(RepositoryBroken):
        create(path, PASSWORD, RECOVERY, binary)
    assert [entry.name for entry in path.parent.iterdir()] == ["new"]


def test_the_view_of_a_repository_goes_away(repository_path: Path, binary: Binary) -> None:
    with open_repository(repository_path, PASSWORD, binary) as opened:
        view = Path(str(opened._variables["RESTIC_REPOSITORY"]))
        assert view.stat().st_mode & 0o777 == 0o700
    assert not view.exists()
    assert (repository_path / "config").exists()


def test_adopting_while_somebody_works_is_refused(
    repository: Repository, repository_path: Path, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    lock = {"time": now, "exclusive": False, "hostname": "x", "username": "x", "pid": 1}
    sealed = repository._master.encrypt(json.dumps(lock).encode())
    name = hashlib.sha256(sealed).hexdigest()
    (repository_path / "locks" / name).write_bytes(sealed)
    monkeypatch.setattr(repository, "_writing", arguments.Restic(repository._writing.path))
    with pytest.raises(RepositoryLocked):
        repository.adopt([])
    repository.adopt([name])
    repository.adopt([name])


@pytest.mark.parametrize("name", ["../config", "", "x", "../snapshots/" + "0" * 64])
def test_adopting_removes_nothing_but_locks(repository: Repository, repository_path: Path, name: str) -> None:
    with pytest.raises(ValueError):
        repository.adopt([name])
    assert (repository_path / "config").exists()


def test_the_binary_is_described(binary: Binary) -> None:
    assert binary.version >= (0, 18, 0)
    assert binary.machine == os.uname().machine
    assert binary.device_path == f"/var/cache/hotfleet/{binary.sha256}/restic"
    check_machine(binary, os.uname().machine)
    with pytest.raises(ToolMissing):
        check_machine(binary, "sparc64")


def test_an_old_or_foreign_program_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    for text in ("restic 0.17.3 compiled with go1.23", "hello", ""):
        program = tmp_path / "restic"
        program.write_text(f"#!/bin/sh\necho '{text}'\n")
        program.chmod(0o755)
        with pytest.raises(ToolMissing):
            find_binary([tmp_path])


def test_versions_are_parsed() -> None:
    assert parse_version(b"restic 0.18.0 compiled with go1.24.4 on linux/amd64") == (0, 18, 0)
    assert parse_version(b"restic 0.19.1-dev (x)") == (0, 19, 1)
    assert parse_version(b"bash: restic: not found") is None
    assert needs_shipping(None) and needs_shipping((0, 17, 9)) and not needs_shipping((0, 18, 0))


class HereDevice:
    """This machine in the place of a device, with its cache below a directory of the test."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.damages = False
        self.sent = 0

    def run(self, command: Command, *, timeout_s: float) -> Result:
        words = self._words(command)
        try:
            done = subprocess.run(words, capture_output=True, timeout=timeout_s, check=False)
        except FileNotFoundError:
            return Result(command, 127, b"", b"not found")
        return Result(command, done.returncode, done.stdout, done.stderr)

    def start(self, command: Command) -> HereProcess:
        self.sent += 1
        return HereProcess(self._words(command), self.damages)

    def _words(self, command: Command) -> list[str]:
        return [word.replace("/var/cache/hotfleet", str(self._root)) for word in command.argv]


class HereProcess:
    stderr_tail = b""

    def __init__(self, words: list[str], damages: bool) -> None:
        self._child = subprocess.Popen(words, stdin=subprocess.PIPE)
        self._damages = damages

    def write(self, data: bytes) -> None:
        assert self._child.stdin is not None
        self._child.stdin.write(data[:-1] if self._damages else data)

    def close_stdin(self) -> None:
        assert self._child.stdin is not None
        self._child.stdin.close()

    def wait(self, *, timeout_s: float) -> int:
        return self._child.wait(timeout_s)

    def close(self) -> None:
        self._child.kill()
        self._child.wait()


def test_the_binary_is_shipped_once_and_verified(binary: Binary, tmp_path: Path) -> None:
    device = HereDevice(tmp_path)
    path = shipping.ship(device, binary)
    assert path == binary.device_path and device.sent == 1
    shipping.ship(device, binary)
    assert device.sent == 1
    there = tmp_path / binary.sha256 / "restic"
    assert there.read_bytes() == binary.path.read_bytes()
    assert [entry.name for entry in there.parent.iterdir()] == ["restic"]
    with there.open("r+b") as file:
        file.write(b"evil")
    assert not shipping.is_verified(device.run(shipping.verify_command(binary), timeout_s=60), binary)
    shipping.ship(device, binary)
    assert device.sent == 2 and there.read_bytes() == binary.path.read_bytes()
    device.run(shipping.remove_command(binary), timeout_s=60)
    assert not there.parent.exists()


def test_a_damaged_transfer_leaves_no_program(binary: Binary, tmp_path: Path) -> None:
    device = HereDevice(tmp_path)
    device.damages = True
    with pytest.raises(CommandFailed):
        shipping.ship(device, binary)
    assert list((tmp_path / binary.sha256).iterdir()) == []


@pytest.fixture
def others() -> set[str]:
    """Children of this process that other tests left behind."""
    return set(_children_of(os.getpid()))


def _children_of(pid: int) -> list[str]:
    children_of_threads = [
        Path(f"/proc/{pid}/task/{task.name}/children").read_text().split()
        for task in Path(f"/proc/{pid}/task").iterdir()
    ]
    return [child for group in children_of_threads for child in group]
