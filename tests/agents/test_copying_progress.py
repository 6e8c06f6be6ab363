"""How far a second copy is, by what came into its directory."""

from __future__ import annotations

from pathlib import Path

from agents.events import Event, Moved
from agents.maintaining.copying_progress import Arrivals, Progress


def test_what_came_since_is_counted_once_and_only_when_it_is_whole(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "aa"
    folder.mkdir(parents=True)
    (folder / ("0" * 64)).write_bytes(b"x" * 1000)
    arrivals = Arrivals(tmp_path)
    assert arrivals.look() == 0
    (folder / ("1" * 64)).write_bytes(b"x" * 70)
    (folder / f"{'2' * 64}-tmp-123").write_bytes(b"x" * 900)
    assert (arrivals.look(), arrivals.look()) == (70, 70)
    (tmp_path / "data" / "bb").mkdir()
    (tmp_path / "data" / "bb" / ("3" * 64)).write_bytes(b"x" * 5)
    assert arrivals.look() == 75


def test_a_store_that_is_no_directory_has_no_bytes(tmp_path: Path) -> None:
    assert Arrivals(tmp_path / "nowhere").look() == 0


def test_bytes_and_snapshots_are_told(tmp_path: Path) -> None:
    told: list[Event] = []
    arrivals = Arrivals(tmp_path)
    progress = Progress(told.append, arrivals, 3)
    (tmp_path / "data" / "aa").mkdir(parents=True)
    (tmp_path / "data" / "aa" / ("1" * 64)).write_bytes(b"x" * 70)
    progress.step()
    progress.finish(2)
    assert told == [Moved(70, 0, 0, 0, None, 3), Moved(70, 2, 0, 0, None, 3)]
