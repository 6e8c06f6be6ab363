"""An index that is lost, broken, killed while it is written, or fed with nonsense is made again."""

from __future__ import annotations

import itertools
import os
import signal
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pytest_django import DjangoAssertNumQueries, Settings

from agents.errors import AgentError, RepositoryBroken
from agents.restic.walking import Head, Walked
from backupsite.fleet.models import Device
from backupsite.recovery.index import adding, catching_up, files, searching
from backupsite.recovery.index.adding import add, add_missing, has_missing
from backupsite.recovery.index.reading import entries, find_place, under
from backupsite.recovery.index.searching import Query, search
from backupsite.recovery.models import RestorePoint
from backupsite.runs import afterwork
from backupsite.runs.models import Run
from backupsite.runs.states import State
from tests.backupsite.making import make_device, make_run
from tests.backupsite.recovery.test_index import A, list_files
from tests.backupsite.recovery.trees import Trees, walk_tree


@pytest.fixture(autouse=True)
def home(settings: Settings, tmp_path: Path) -> Path:
    settings.HOTFLEET_HOME = tmp_path
    return tmp_path


@pytest.fixture
def device(db: None) -> Device:
    return make_device()


@pytest.fixture
def trees(device: Device) -> Trees:
    return Trees(device)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The devices for which a worker was asked to make what is missing."""
    asked: list[int] = []
    monkeypatch.setattr(catching_up, "ask", asked.append)
    return asked


def at_turn_of(device: Device) -> datetime:
    return datetime.fromtimestamp(device.pk % catching_up.SLOTS * catching_up.SLOT_S, UTC)


def test_only_we_can_read_it(trees: Trees) -> None:
    trees.add(A)
    path = files.file_of(trees.device)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_lost_file_is_noticed_and_made_again(trees: Trees, asked: list[int]) -> None:
    points = [trees.add(A), trees.add({"/srv/x": (1, 1)})]
    assert not has_missing(trees.device)
    files.remove(files.file_of(trees.device))
    assert find_place(points[0]) is None
    catching_up.look(at_turn_of(trees.device))
    assert asked == [trees.device.pk]
    assert add_missing(trees.device, walk=trees.walk) == 2
    assert list_files(points[0]) == A


@pytest.mark.parametrize("at", [0, 100, 5000, -3000])
def test_a_damaged_file_is_made_again_before_anything_is_added(
    trees: Trees, asked: list[int], at: int
) -> None:
    """The first page, the tables' own description, a page of rows, the end."""
    tree = {f"/srv/{number % 30}/file-{number:05}": (number, number) for number in range(3000)}
    point = trees.add(tree)
    path = files.file_of(trees.device)
    with path.open("r+b") as file:
        file.seek(at, os.SEEK_SET if at >= 0 else os.SEEK_END)
        file.write(b"\xa5" * 2500)
    found = under(point, ["/"])
    with suppress(files.Broken):
        list(found or ())
    newest = trees.add(A)
    assert list_files(point) == tree
    assert list_files(newest) == A


def test_a_broken_file_is_no_index(trees: Trees) -> None:
    point = trees.add(A)
    files.file_of(trees.device).write_bytes(b"this is not a database" * 1000)
    assert entries(point, "/srv") is None
    assert not files.file_of(trees.device).exists()
    files.file_of(trees.device).write_bytes(b"")
    assert find_place(point) is None
    assert search([trees.device], Query("a.txt")).unread_count == 1
    assert add(point, walk=trees.walk) == 1
    assert list_files(point) == A


def test_another_layout_is_made_again(trees: Trees) -> None:
    point = trees.add(A)
    with closing(sqlite3.connect(files.file_of(trees.device))) as connection:
        connection.execute("PRAGMA user_version = 99")
    assert find_place(point) is None
    assert has_missing(trees.device)
    assert add(point, walk=trees.walk) == 1


def test_a_killed_worker_leaves_the_old_state(trees: Trees) -> None:
    """A process of its own is killed after each of many steps, with rows of the new state written already."""
    old = trees.add({f"/srv/{number:05}": (1, 1) for number in range(12_000)})
    new = {f"/srv/{number:05}": (2, 2) for number in range(100, 12_100)}
    point = trees.make(new)
    for after in (0, 1, 5_000, 5_001, 9_999, 12_000):
        child = os.fork()
        if child == 0:
            try:
                _add_until_killed(trees.device, point, new, after)
            finally:
                os._exit(1)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
        assert find_place(point) is None
        assert list_files(old) == trees.trees[old.restic_id]
    assert add(point, walk=trees.walk) == 1
    assert list_files(point) == new
    assert list_files(old) == trees.trees[old.restic_id]


def _add_until_killed(
    device: Device, point: RestorePoint, tree: dict[str, tuple[int, int]], after: int
) -> None:
    @contextmanager
    def walk(point: RestorePoint) -> Iterator[tuple[Head, Iterator[Walked]]]:
        def nodes() -> Iterator[Walked]:
            for number, node in enumerate(walk_tree(tree)):
                if number == after:
                    os.kill(os.getpid(), signal.SIGKILL)
                yield node
            os.kill(os.getpid(), signal.SIGKILL)

        yield Head(point.restic_id, "a tree"), nodes()

    with files.writing(device), files.open_for_writing(device) as write:
        adding.Adder(write, walk).add_all([point])


def test_a_search_that_takes_too_long_says_what_it_did_not_reach(
    trees: Trees, monkeypatch: pytest.MonkeyPatch
) -> None:
    trees.add({f"/srv/{number}": (1, 1) for number in range(5000)})
    clock = itertools.chain([0.0, 0.0], itertools.repeat(100.0))
    monkeypatch.setattr(searching, "_STEPS", 10)
    monkeypatch.setattr(searching, "monotonic", lambda: next(clock))
    found = search([trees.device, make_device("web-01")], Query("no such name"))
    assert (found.hits, found.unread_count) == ([], 2)


def test_two_writers_do_not_meet(trees: Trees) -> None:
    point = trees.make(A)
    with files.writing(trees.device):
        assert add(point, walk=trees.walk) == 0
    assert add(point, walk=trees.walk) == 1


def test_who_reads_sees_one_state(trees: Trees) -> None:
    point = trees.add(A)
    found = under(point, ["/"])
    assert found is not None
    first = next(found)
    point.delete()
    add_missing(trees.device, walk=trees.walk)
    assert [first.path, *(entry.path for entry in found)] == [
        "/srv", "/srv/a.txt", "/srv/b.txt", "/srv/www", "/srv/www/index.html",
    ]  # fmt: skip


@contextmanager
def walk_badly(point: RestorePoint) -> Iterator[tuple[Head, Iterator[Walked]]]:
    """The repository breaks after some nodes."""

    def nodes() -> Iterator[Walked]:
        yield from walk_tree({"/srv/x": (1, 1)})
        raise RepositoryBroken("a pack is gone")

    yield Head(point.restic_id, "another tree"), nodes()


def test_a_point_that_cannot_be_read_is_not_half_there(trees: Trees) -> None:
    old, broken = trees.add(A), trees.make(A)
    assert add(broken, walk=walk_badly) == 0
    assert find_place(broken) is None
    assert not has_missing(trees.device), "it would be read again every hour"
    newest = trees.add({"/srv/y": (1, 1)})
    assert (list_files(old), list_files(newest)) == (A, {"/srv/y": (1, 1)})


def test_what_may_pass_is_tried_again(trees: Trees) -> None:
    class Passing(AgentError):
        retryable = True

    @contextmanager
    def walk(point: RestorePoint) -> Iterator[tuple[Head, Iterator[Walked]]]:
        yield Head(point.restic_id, "a tree"), fail()

    def fail() -> Iterator[Walked]:
        yield from walk_tree(A)
        raise Passing("not now")

    point = trees.make(A)
    assert add(point, walk=walk) == 0
    assert has_missing(trees.device)
    assert add(point, walk=trees.walk) == 1


@pytest.mark.parametrize(
    "nodes",
    [
        [Walked(b"/", b"b", "file", 1, 1), Walked(b"/", b"a", "file", 1, 1)],
        [Walked(b"/", b"a", "file", 1, 1), Walked(b"/", b"a", "file", 1, 1)],
        [Walked(b"/srv", b"a", "file", 1, 1)],
        [Walked(b"/", b"a", "file", 1, 1), Walked(b"/a", b"b", "file", 1, 1)],
        [Walked(b"/", b"a", "dir", 0, 1), Walked(b"/", b"b", "dir", 0, 1), Walked(b"/a", b"x", "file", 0, 1)],
    ],
)
def test_a_listing_out_of_order_is_refused(trees: Trees, nodes: list[Walked]) -> None:
    @contextmanager
    def walk(point: RestorePoint) -> Iterator[tuple[Head, Iterator[Walked]]]:
        yield Head(point.restic_id, "a tree"), iter(nodes)

    point = trees.make({})
    assert add(point, walk=walk) == 0
    assert find_place(point) is None


def test_paths_that_are_too_long_are_counted(trees: Trees) -> None:
    point = trees.add({"/srv/" + "d" * 9000 + "/x": (1, 1), "/srv/a": (1, 1)})
    place = find_place(point)
    assert place is not None
    assert (place.entries, place.skipped) == (2, 2)


def test_after_a_good_backup_the_index_is_made(
    trees: Trees, asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        catching_up, "add_missing", lambda device, longest_s: add_missing(device, walk=trees.walk)
    )
    point = trees.make(A)
    catching_up.after_run(trees.device, make_run(trees.device, State.FAILED))
    catching_up.after_run(trees.device, make_run(trees.device, kind=Run.PROBE))
    assert find_place(point) is None
    catching_up.after_run(trees.device, make_run(trees.device, State.WARNINGS))
    assert find_place(point) is not None
    assert asked == []


def test_what_does_not_fit_into_a_turn_is_asked_for(trees: Trees, asked: list[int]) -> None:
    trees.make(A)
    trees.make({})
    assert add_missing(trees.device, walk=trees.walk, longest_s=-1) == 0
    catching_up.look(at_turn_of(trees.device))
    assert asked == [trees.device.pk]


def test_a_failure_after_a_run_is_not_the_runs(
    device: Device, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(device: Device, run: Run | None) -> None:
        raise OSError("No space left on device")

    done: list[int] = []
    monkeypatch.setattr(afterwork, "_steps", [fail, lambda device, run: done.append(device.pk)])
    afterwork.execute_afterwork(str(device.pk))
    afterwork.execute_afterwork("999999")
    assert done == [device.pk]
    assert "No space left on device" in caplog.text


def test_indexes_of_devices_that_are_gone_are_removed(trees: Trees) -> None:
    trees.add(A)
    gone = Device(name="gone", slug="gone")
    with files.writing(gone), files.open_for_writing(gone):
        pass
    assert files.file_of(gone).exists()
    catching_up.remove_others()
    assert [path.stem for path in files.home().iterdir()] == [trees.device.uuid.hex] * 2


def test_looking_takes_as_many_queries_as_it_did(
    trees: Trees, asked: list[int], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    trees.add(A)
    with django_assert_num_queries(3):  # other nodes, devices of the turn, restore points of each
        catching_up.look(at_turn_of(trees.device))
    assert asked == []
