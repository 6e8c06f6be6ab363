"""Drills of files and of SQLite, with their negative controls. About a minute."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from agents.applications.trials import Question
from agents.errors import PlanRefused
from agents.flow import Unstoppable
from agents.gateway import Journal, LocalStore
from agents.gateway.journal import Entry
from agents.gateway.target import Kind, Target
from agents.plan import SourceRequest
from tests.live.drills import Prover, assert_proven, assert_refuted, full_only, stored_of
from tests.live.flows import assert_device_is_clean
from tests.live.ground import Device


@pytest.fixture
def console(device: Device, tmp_path: Path) -> Prover:
    return Prover(device, tmp_path)


def test_files_of_every_kind_are_proven(console: Prover) -> None:
    folder = console.device.btrfs / "data"
    (folder / "sub dir").mkdir(parents=True)
    (folder / "sub dir" / "a\nb 'c").write_bytes(os.urandom(100_000))
    (folder / "empty").touch()
    (folder / "one").write_text("one")
    os.link(folder / "one", folder / "other name of one")
    (folder / "link").symlink_to("/etc/passwd")
    os.mkfifo(folder / "pipe")
    with (folder / "sparse").open("wb") as file:
        file.truncate(10_000_000)
    (folder / "setuid").write_bytes(b"#!/bin/sh\n")
    (folder / "setuid").chmod(0o4755)
    stored = console.store(folder, "", "btrfs")
    evidence = console.drill(stored)
    assert_proven(evidence, "restore", "manifest", "hashes")
    assert evidence.bytes == 100_000 + 3 + 3 + 10_000_000 + 10
    assert len(evidence.hashes) == 5
    assert evidence.total_s >= evidence.restore_s > 0
    assert_device_is_clean(console)


@full_only
def test_an_empty_folder_proves_nothing(console: Prover) -> None:
    folder = console.device.btrfs / "data"
    (folder / "sub").mkdir(parents=True)
    said = assert_refuted(console.drill(console.store(folder, "", "btrfs")), "manifest")
    assert "nothing is in it" in said


def test_a_repository_that_rots_fails_the_drill(console: Prover) -> None:
    folder = console.device.btrfs / "data"
    folder.mkdir()
    (folder / "file").write_bytes(os.urandom(1_000_000))
    stored = console.store(folder, "", "btrfs")
    packs = sorted((console.place.path / "data").glob("*/*"), key=lambda each: each.stat().st_size)
    with packs[-1].open("r+b") as file:
        file.seek(200_000)
        file.write(b"rot")
    evidence = console.drill(stored)
    assert not evidence.is_passed
    assert evidence.checks[0].name == "restore"
    assert not evidence.checks[0].is_passed
    assert_device_is_clean(console)


def test_a_drill_touches_nothing_of_a_backup_that_writes_meanwhile(console: Prover) -> None:
    folder = console.device.btrfs / "data"
    folder.mkdir()
    (folder / "file").write_text("one")
    stored = console.store(folder, "", "btrfs")
    with Journal(console.place.journals / "backup.jsonl") as journal, LocalStore(console.place.path) as store:
        journal.add(Entry(Kind.LOCKS, "0" * 64, 3), durable=True)
        upload = store.begin(Target(Kind.LOCKS, "0" * 64))
        upload.write(b"one")
        before = sorted(console.place.path.rglob("*"))
        seen: list[Path] = []

        class Watching(Unstoppable):
            def raise_if_stopped(self) -> None:
                seen.extend(console.place.journals.glob("*.jsonl"))

        assert_proven(console.drill(stored, control=Watching()))
        assert sorted(console.place.path.rglob("*")) == before
        assert {each.name for each in seen} == {"backup.jsonl"}, (
            "the next backup would take the drill's for dead"
        )
        upload.discard()


def test_a_machine_without_room_is_no_failed_check(console: Prover) -> None:
    folder = console.device.btrfs / "data"
    folder.mkdir()
    (folder / "file").write_text("one")
    stored = console.store(folder, "", "btrfs")
    (part,) = stored.parts
    with pytest.raises(PlanRefused) as refused:
        console.drill(replace(stored, parts=(replace(part, size_bytes=10**16),)))
    assert "free" in refused.value.message
    assert_device_is_clean(console)


def make_database(folder: Path) -> Path:
    folder.mkdir(parents=True)
    with closing(sqlite3.connect(folder / "app.db")) as database:
        database.execute("pragma journal_mode=wal")
        database.execute("create table account (id integer primary key, name text)")
        database.execute("create table entry (id integer primary key, account references account)")
        database.execute("create index by_name on account (name)")
        names = [(number, f"name {number} {'x' * 200}") for number in range(1, 5001)]
        database.executemany("insert into account values (?, ?)", names)
        database.executemany("insert into entry values (?, ?)", [(n, n) for n in range(1, 5001)])
        database.commit()
    return folder / "app.db"


ROWS = Question("select count(*) from account", ">", "0")


@pytest.mark.parametrize("method", ["stream", pytest.param("snapshot", marks=full_only)])
def test_a_sqlite_file_is_proven(console: Prover, method: str) -> None:
    path = make_database(console.device.btrfs / "app")
    with closing(sqlite3.connect(path)) as database:  # what is only in the journal belongs to it
        database.execute("insert into account values (6000, 'late')")
        database.commit()
        source = SourceRequest(application="sqlite", instance=str(path), method=method)
        stored = stored_of(console.back_up(source), "sqlite", str(path), path.parent)
    late = Question("select name from account where id = 6000", "=", "late")
    evidence = console.drill(stored, ROWS, late)
    assert_proven(evidence, "start", "integrity_check", "foreign_key_check", "question 1", "question 2")
    assert_device_is_clean(console)


@full_only
def test_a_sqlite_file_with_a_broken_page_is_refuted(console: Prover) -> None:
    path = make_database(console.device.btrfs / "app")
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2 // 4096 * 4096)
        file.write(os.urandom(4096))
    evidence = console.drill(console.store(path.parent, "sqlite", "snapshot", instance=str(path)), ROWS)
    assert "integrity_check" in [check.name for check in evidence.failures]


def test_a_sqlite_file_torn_under_its_writer_is_refuted(console: Prover) -> None:
    """Half of the file is read, rows move, the other half is read: what a copy of a live file does."""
    path = make_database(console.device.btrfs / "app")
    size = path.stat().st_size // 4096 // 2 * 4096
    early = path.read_bytes()[:size]
    with closing(sqlite3.connect(path)) as database:
        database.execute("update account set name = 'changed ' || name || hex(randomblob(300))")
        database.commit()
        database.execute("pragma wal_checkpoint(truncate)")
    with path.open("r+b") as file:
        file.write(early)
    evidence = console.drill(console.store(path.parent, "sqlite", "snapshot", instance=str(path)), ROWS)
    assert "integrity_check" in [check.name for check in evidence.failures]


def test_an_orphan_row_and_an_empty_table_are_refuted(console: Prover) -> None:
    path = make_database(console.device.btrfs / "app")
    with closing(sqlite3.connect(path)) as database:
        database.execute("delete from account")
        database.commit()
    evidence = console.drill(console.store(path.parent, "sqlite", "snapshot", instance=str(path)), ROWS)
    said = assert_refuted(evidence, "foreign_key_check", "question 1")
    assert "expected: > 0" in said


@full_only
def test_a_missing_sqlite_file_and_an_empty_one_are_refuted(console: Prover) -> None:
    path = make_database(console.device.btrfs / "app")
    path.write_bytes(b"")
    for end in ("-wal", "-shm"):
        path.with_name(f"app.db{end}").unlink(missing_ok=True)
    (path.parent / "other").write_text("x")
    evidence = console.drill(console.store(path.parent, "sqlite", "snapshot", instance=str(path)))
    assert "missing or empty" in assert_refuted(evidence, "start")


def test_a_query_cannot_leave_the_database(console: Prover, tmp_path: Path) -> None:
    path = make_database(console.device.btrfs / "app")
    marker = tmp_path / "was-here"
    bad = [
        Question(f".shell touch {marker}", "=", ""),
        Question(f"\n.shell touch {marker}", "=", ""),
        Question("select load_extension('/drill/tree/evil.so')", "=", ""),
        Question("select 1 where 0; delete from account", "=", ""),
    ]
    evidence = console.drill(
        console.store(path.parent, "sqlite", "snapshot", instance=str(path)), *bad, sample=0
    )
    assert_refuted(evidence, *(f"question {number}" for number in (1, 2, 3, 4)))
    assert not marker.exists()
