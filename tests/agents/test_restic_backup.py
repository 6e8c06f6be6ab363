"""The real restic against the gateway: everything that a run does with a repository."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from agents.commands import Command, Secret, to_bytes
from agents.errors import RepositoryBroken
from agents.gateway import Gateway, Journal, KeyFile, Kind, LocalStore, Rights, make_credentials, read_journal
from agents.restic import arguments
from agents.restic.arguments import Restic
from agents.restic.binary import Binary
from agents.restic.messages import BackupSummary, Decoder, RestoreSummary, only_summary
from agents.restic.outcomes import Outcome, judge
from agents.restic.repository import Repository, open_repository
from tests.agents.gateway_ground import (
    PASSWORD,
    _template,
    binary,
    loopback,
    name_of,
    repository_path,
    small_disk,
    unix_socket,
)

__all__ = ["_template", "binary", "repository_path", "small_disk"]

HOSTILE_NAMES = [
    b"new\nline",
    b"-rf",
    b"caf\xe9",
    b' "q" \\ *[a]? $HOME ',
    b"x" * 255,
    "café ☃".encode(),
    b"\x1b[31m",
]


@dataclass
class Bench:
    """One real repository, opened, and a gateway for one run."""

    repository: Repository
    gateway: Gateway
    journal: Path
    path: Path
    environment: dict[str, str]
    restic: Restic

    def run(self, command: Command) -> subprocess.CompletedProcess[bytes]:
        words = [to_bytes(word) for word in command.argv]
        stdin = command.stdin if isinstance(command.stdin, bytes) else b""
        return subprocess.run(
            words, env=self.environment, input=stdin, capture_output=True, timeout=120, check=False
        )

    def start(self, command: Command) -> subprocess.Popen[bytes]:
        words = [to_bytes(word) for word in command.argv]
        with tempfile.TemporaryFile() as stdin:
            stdin.write(command.stdin if isinstance(command.stdin, bytes) else b"")
            stdin.seek(0)
            return subprocess.Popen(words, env=self.environment, stdin=stdin, stdout=subprocess.DEVNULL)

    def back_up(self, source: Path, *tags: str) -> BackupSummary:
        result = self.run(arguments.backup(self.restic, [str(source)], host="device", tags=tags))
        assert judge(result.returncode, result.stderr.decode()) is Outcome.SUCCESS
        messages = list(Decoder("backup").feed(result.stdout))
        return only_summary([message for message in messages if isinstance(message, BackupSummary)])


@contextmanager
def open_bench(path: Path, binary: Binary, journal: Path, rights: Rights) -> Iterator[Bench]:
    """Open a repository, a run key and a gateway on a loopback port; close all of it at the end."""
    with ExitStack() as stack:
        repository = stack.enter_context(open_repository(path, PASSWORD, binary))
        key, credentials = repository.make_run_key(), make_credentials()
        gateway = Gateway(
            stack.enter_context(LocalStore(path)),
            credentials,
            rights=rights,
            journal=stack.enter_context(Journal(journal)),
            run_key=KeyFile(key.name, key.content),
        )
        stack.callback(gateway.close)
        url = stack.enter_context(loopback(gateway))
        variables = arguments.environment(
            url, key.password, user=credentials.user, user_password=credentials.password
        )
        environment = {
            name: value.reveal() if isinstance(value, Secret) else value for name, value in variables.items()
        }
        yield Bench(repository, gateway, journal, path, environment, Restic(str(binary.path)))


@pytest.fixture
def bench(repository_path: Path, binary: Binary, tmp_path: Path) -> Iterator[Bench]:
    with open_bench(repository_path, binary, tmp_path / "journal", Rights.BACKUP) as made:
        yield made


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A tree with everything that a file system can hold."""
    root = tmp_path / "source"
    (root / "folder" / "deep").mkdir(parents=True)
    for number, name in enumerate(HOSTILE_NAMES):
        (root / os.fsdecode(name)).write_bytes(b"content %d" % number)
    (root / "large").write_bytes(os.urandom(20 << 20))
    (root / "folder" / "deep" / "empty").touch()
    (root / "link").symlink_to(os.fsdecode(b"nowhere \xff"))
    os.link(root / "large", root / "folder" / "hard")
    os.mkfifo(root / "fifo")
    (root / "folder").chmod(0o2750)
    (root / "-rf").chmod(0o4711)
    os.setxattr(root / "large", "user.test", b"\x00\xff")
    os.utime(root / "-rf", ns=(1, 1_234_567_890_123_456_789))
    return root


def describe(root: Path) -> dict[bytes, tuple[object, ...]]:
    """Return everything that a restore must bring back."""
    found: dict[bytes, tuple[object, ...]] = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        content: object = None
        if path.is_symlink():
            content = os.readlink(os.fsencode(path))
        elif path.is_file():
            content = name_of(path.read_bytes())
        names = os.listxattr(path, follow_symlinks=False)
        attributes = {name: os.getxattr(path, name, follow_symlinks=False) for name in names}
        key = os.fsencode(path.relative_to(root))
        links = status.st_nlink if path.is_file() else 0
        found[key] = (
            status.st_mode,
            status.st_uid,
            status.st_gid,
            status.st_mtime_ns,
            links,
            content,
            attributes,
        )
    return found


def test_a_backup_is_restored_identically(bench: Bench, source: Path, tmp_path: Path) -> None:
    summary = bench.back_up(source, "run:1")
    assert bench.gateway.refusals == ()
    info = bench.repository.read_back(summary.snapshot_id)
    assert (info.hostname, info.paths, info.tags) == ("device", (str(source),), ("run:1",))
    assert info.summary is not None and info.summary.files_new == summary.files_new
    target = tmp_path / "restored"
    result = bench.run(arguments.restore(bench.restic, summary.snapshot_id, str(target), folder=str(source)))
    assert result.returncode == 0, result.stderr
    done = [m for m in Decoder("restore").feed(result.stdout) if isinstance(m, RestoreSummary)]
    assert len(done) == 1 and done[0].files_restored == done[0].files_total
    assert describe(target) == describe(source)
    bench.repository.check(read_data=True)


def test_chosen_entries_are_restored_and_nothing_is_overwritten(
    bench: Bench, source: Path, tmp_path: Path
) -> None:
    summary = bench.back_up(source)
    names = [os.fsdecode(name) for name in HOSTILE_NAMES]
    target = tmp_path / "restored"
    target.mkdir()
    (target / "-rf").write_text("kept")
    result = bench.run(
        arguments.restore(bench.restic, summary.snapshot_id, str(target), folder=str(source), names=names)
    )
    assert result.returncode == 0, result.stderr
    assert {os.fsencode(path.name) for path in target.iterdir()} == set(HOSTILE_NAMES)
    assert (target / "-rf").read_text() == "kept"


def test_a_second_backup_of_the_same_tree_sends_nothing(bench: Bench, source: Path) -> None:
    bench.back_up(source)
    before = bench.gateway.stored_bytes
    summary = bench.back_up(source)
    assert (summary.files_new, summary.files_changed) == (0, 0)
    assert bench.gateway.stored_bytes - before < 20_000


def test_the_journal_names_every_file_of_the_run(bench: Bench, source: Path) -> None:
    existing = {path.name for path in bench.path.rglob("*")}
    bench.back_up(source)
    made = {path.name for path in bench.path.rglob("*") if path.is_file()} - existing
    entries = read_journal(bench.journal)
    assert made == {entry.name for entry in entries if entry.kind is not Kind.LOCKS}
    assert {entry.kind for entry in entries} == {Kind.DATA, Kind.INDEX, Kind.SNAPSHOTS, Kind.LOCKS}
    assert list((bench.path / "locks").iterdir()) == []


def test_the_device_never_sees_a_true_key(bench: Bench) -> None:
    result = bench.run(bench.restic.command("key", "list", "--json"))
    assert result.returncode == 0
    stored = {path.name[:8] for path in (bench.path / "keys").iterdir()}
    assert not any(name.encode() in result.stdout for name in stored)
    assert result.stdout.count(b'"id"') == 1


def test_the_device_can_neither_forget_nor_prune_nor_add_keys(
    bench: Bench, source: Path, tmp_path: Path
) -> None:
    summary = bench.back_up(source)
    before = {path: name_of(path.read_bytes()) for path in bench.path.rglob("*") if path.is_file()}
    password = tmp_path / "password"
    password.write_text("evil")
    for words in (
        ("forget", summary.snapshot_id),
        ("forget", "--prune", "--unsafe-allow-remove-all", "--tag", ""),
        ("key", "add", "--new-password-file", str(password)),
        ("key", "remove", next((bench.path / "keys").iterdir()).name),
        ("init",),
        ("tag", "--set", "x", summary.snapshot_id),
    ):
        bench.run(bench.restic.command(*words))  # its status says nothing: forget and tag ignore a refusal
    assert {path: name_of(path.read_bytes()) for path in before} == before
    assert len([refusal for refusal in bench.gateway.refusals if "may not delete" in refusal.reason]) >= 3
    assert len(list((bench.path / "keys").iterdir())) == 2
    bench.repository.read_back(summary.snapshot_id)


def test_a_restore_run_can_read_and_not_add(
    repository_path: Path, binary: Binary, tmp_path: Path, source: Path
) -> None:
    with open_bench(repository_path, binary, tmp_path / "first", Rights.BACKUP) as bench:
        summary = bench.back_up(source)
    with open_bench(repository_path, binary, tmp_path / "second", Rights.RESTORE) as bench:
        target = tmp_path / "restored"
        command = arguments.restore(bench.restic, summary.snapshot_id, str(target), folder=str(source))
        assert bench.run(command).returncode == 0
        (source / "more").write_text("more")
        command = arguments.backup(bench.restic, [str(source)], host="device")
        assert bench.run(command).returncode == 1
        assert any("may not add" in refusal.reason for refusal in bench.gateway.refusals)
        assert {entry.kind for entry in read_journal(bench.journal)} == {Kind.LOCKS}


def test_it_works_on_a_unix_socket(bench: Bench, source: Path, tmp_path: Path) -> None:
    with unix_socket(bench.gateway, tmp_path / "socket") as url:
        bench.environment["RESTIC_REPOSITORY"] = url
        assert bench.back_up(source).files_new > 0


def test_a_stream_of_a_failing_producer_makes_no_restore_point(bench: Bench) -> None:
    producer = ["/bin/sh", "-c", "echo half; exit 3"]
    command = arguments.backup_stream(bench.restic, producer, name="dump.sql", host="device")
    result = bench.run(command)
    assert result.returncode == 1 and b"exit status 3" in result.stderr + result.stdout
    assert bench.repository.list_snapshots() == []
    producer = ["/bin/sh", "-c", "echo whole"]
    command = arguments.backup_stream(bench.restic, producer, name="dump.sql", host="device")
    result = bench.run(command)
    assert result.returncode == 0
    [point] = bench.repository.list_snapshots()
    assert b"".join(bench.repository.dump_file(point.snapshot_id, "/dump.sql")) == b"whole\n"


def test_a_run_that_was_killed_is_adopted_and_hardly_anything_is_sent_again(
    repository_path: Path, binary: Binary, tmp_path: Path
) -> None:
    megabytes = 160
    source = tmp_path / "large"
    source.mkdir()
    for number in range(8):
        (source / str(number)).write_bytes(os.urandom(megabytes // 8 << 20))
    first = tmp_path / "first"
    with open_bench(repository_path, binary, first, Rights.BACKUP) as bench:
        child = bench.start(arguments.backup(bench.restic, [str(source)], host="device"))
        while bench.gateway.stored_bytes < megabytes * 0.8 * 2**20:
            assert child.poll() is None, "it ended before it was killed"
            time.sleep(0.005)
        child.send_signal(signal.SIGKILL)
        child.wait()
        sent_before = bench.gateway.stored_bytes
    entries = read_journal(first)
    with open_bench(repository_path, binary, tmp_path / "second", Rights.BACKUP) as bench:
        bench.repository.adopt([entry.name for entry in entries if entry.kind is Kind.LOCKS])
        assert list((repository_path / "locks").iterdir()) == []
        bench.back_up(source)
        missing = megabytes * 2**20 - sent_before
        again = bench.gateway.stored_bytes - max(0, missing)
        assert again < 0.2 * sent_before
        bench.repository.check(read_data=True)


def test_a_full_repository_ends_a_backup_soon_and_leaves_the_old_points(
    repository_path: Path, binary: Binary, tmp_path: Path, small_disk: Path
) -> None:
    path = Path(shutil.copytree(repository_path, small_disk / "repository"))
    source = tmp_path / "source"
    source.mkdir()
    (source / "small").write_text("small")
    with open_bench(path, binary, tmp_path / "journal", Rights.BACKUP) as bench:
        good = bench.back_up(source)
        (source / "large").write_bytes(os.urandom(40 << 20))
        began = time.monotonic()
        result = bench.run(arguments.backup(bench.restic, [str(source)], host="device"))
        assert result.returncode == 1
        assert time.monotonic() - began < 300  # restic itself tries for a quarter of an hour
        assert bench.gateway.out_of_space
        bench.repository.read_back(good.snapshot_id)
        assert [point.snapshot_id for point in bench.repository.list_snapshots()] == [good.snapshot_id]


def test_a_damaged_pack_is_found_by_reading_it(bench: Bench, source: Path) -> None:
    bench.back_up(source)
    pack = max(
        (bench.path / "data").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0
    )
    content = bytearray(pack.read_bytes())
    content[len(content) // 2] ^= 1
    pack.write_bytes(content)
    with pytest.raises(RepositoryBroken):
        bench.repository.check(read_data=True)


def test_a_missing_restore_point_is_not_read_back(bench: Bench, source: Path) -> None:
    summary = bench.back_up(source)
    (bench.path / "snapshots" / summary.snapshot_id).unlink()
    with pytest.raises(RepositoryBroken):
        bench.repository.read_back(summary.snapshot_id)


def test_a_restore_point_without_its_data_is_not_read_back(bench: Bench, source: Path) -> None:
    summary = bench.back_up(source)
    shutil.rmtree(bench.path / "data")
    (bench.path / "data").mkdir()
    with pytest.raises(RepositoryBroken):
        bench.repository.read_back(summary.snapshot_id)
