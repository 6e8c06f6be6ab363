"""The journal of a run's files."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.errors import ProtocolBroken
from agents.gateway import Entry, Journal, Kind, StoreFailed, read_journal

ENTRIES = tuple(Entry(Kind.DATA, f"{number:064x}", number) for number in range(3))


def _write(path: Path) -> None:
    with Journal(path) as journal:
        for entry in ENTRIES:
            journal.add(entry, durable=False)


def test_it_reads_what_was_written(tmp_path: Path) -> None:
    _write(tmp_path / "journal")
    assert read_journal(tmp_path / "journal") == ENTRIES


def test_a_run_without_a_journal_made_nothing(tmp_path: Path) -> None:
    assert read_journal(tmp_path / "journal") == ()


def test_a_crash_at_any_byte_loses_at_most_the_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    _write(path)
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        assert read_journal(path) == ENTRIES[: whole[:size].count(b"\n")]


def test_a_torn_line_is_cut_off_before_more_is_written(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    _write(path)
    path.write_bytes(path.read_bytes()[:-5])
    with Journal(path) as journal:
        journal.add(ENTRIES[0], durable=True)
    assert read_journal(path) == (*ENTRIES[:2], ENTRIES[0])


@pytest.mark.parametrize(
    "line",
    [
        b"junk\n",
        b"[]\n",
        b"{}\n",
        b'{"kind": "data", "name": "../x", "size": 1}\n',
        b'{"kind": "what", "name": "' + b"0" * 64 + b'", "size": 1}\n',
        b'{"kind": "data", "name": "' + b"0" * 64 + b'", "size": -1}\n',
    ],
)
def test_a_damaged_journal_is_not_believed(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "journal"
    _write(path)
    path.write_bytes(line + path.read_bytes())
    with pytest.raises(ProtocolBroken):
        read_journal(path)


def test_a_journal_that_cannot_be_opened_is_an_expected_failure(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for path in (tmp_path / "missing" / "journal", tmp_path / "link"):
        with pytest.raises(StoreFailed):
            Journal(path)
    assert not (tmp_path / "elsewhere").exists()
