"""The index says what the restore points hold, whatever came before and whatever went since."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as budget
from hypothesis import strategies as some
from pytest_django import Settings

from backupsite.fleet.models import Device
from backupsite.recovery.index import files
from backupsite.recovery.index.adding import add, add_missing
from backupsite.recovery.index.comparing import OtherSource, compare, compare_folder
from backupsite.recovery.index.reading import SORTS, entries, find, find_place, measure, under
from backupsite.recovery.index.searching import Query, search
from backupsite.recovery.index.through_time import versions
from backupsite.recovery.models import RestorePoint
from tests.backupsite.making import make_device
from tests.backupsite.recovery.making import HOSTILE
from tests.backupsite.recovery.trees import Tree, Trees

A = {"/srv/a.txt": (1, 10), "/srv/b.txt": (2, 20), "/srv/www/index.html": (3, 30)}


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


def list_files(point: RestorePoint, *paths: str) -> Tree:
    """All files that the index says are below these paths."""
    found = under(point, paths or ["/"])
    assert found is not None
    return {
        entry.path: (entry.size_bytes, round(entry.modified_at.timestamp() * 1000))
        for entry in found
        if entry.is_file and entry.modified_at is not None
    }


def test_what_is_not_in_it_is_not_known(trees: Trees) -> None:
    point = trees.make(A)
    assert find_place(point) is None
    assert entries(point, "/srv") is None
    assert under(point, ["/srv"]) is None
    assert find(point, ["/srv"]) is None
    assert versions(trees.device, "/srv", "/srv/a.txt") is None
    assert compare(point, point) is None
    assert search([trees.device], Query("a")).unread_count == 1


def test_a_folder_is_read_from_it(trees: Trees) -> None:
    point = trees.add(A)
    page = entries(point, "/srv")
    assert page is not None
    assert [(entry.path, entry.kind, entry.size_bytes) for entry in page.entries] == [
        ("/srv/www", "dir", 0),
        ("/srv/a.txt", "file", 1),
        ("/srv/b.txt", "file", 2),
    ]
    assert page.total == 3
    assert entries(point, "/nowhere") == ([], 0)
    assert entries(point, "/srv/a.txt") == ([], 0)


def test_pages_and_orders(trees: Trees) -> None:
    point = trees.add({f"/srv/{number:04}": (9999 - number, number) for number in range(1000)})
    second = entries(point, "/srv", page=2, size=300)
    assert second is not None
    assert second.total == 1000
    assert [entry.name for entry in second.entries] == [f"{number:04}" for number in range(300, 600)]
    for sort in SORTS:
        page = entries(point, "/srv", sort=sort, size=1)
        assert page is not None
        is_last = sort in ("-name", "size", "-modified")
        assert page.entries[0].name == ("0999" if is_last else "0000"), sort
    with pytest.raises(KeyError):
        entries(point, "/srv", sort="name; DROP TABLE entry")


def test_names_of_any_bytes_come_back(trees: Trees) -> None:
    tree = {f"/srv/{name}": (1, 1) for name in HOSTILE} | {"/srv/\udcff/\udcfe": (2, 2), "/srv/%_\\": (3, 3)}
    point = trees.add(tree)
    assert list_files(point) == tree
    for path in tree:
        hits = search([trees.device], Query(path)).hits
        assert path in [hit.path for hit in hits], path
        assert find(point, [path])
        assert [version.kind for version in versions(trees.device, "/srv", path) or []] == ["file"]


def test_an_unchanged_point_costs_no_listing(trees: Trees) -> None:
    first = trees.add(A)
    again = trees.make(A)
    RestorePoint.objects.filter(pk=again.pk).update(restic_id=first.restic_id)
    again.refresh_from_db()
    assert add(again, walk=trees.walk) == 1
    assert trees.walks == 1
    assert find_place(again) == find_place(first)


def test_a_point_of_the_same_tree_shares_its_rows(trees: Trees) -> None:
    first, second = trees.add(A), trees.add(A)
    assert find_place(first) == find_place(second)
    third = trees.add(A | {"/srv/new": (1, 1)})
    assert find_place(third) != find_place(first)
    assert list_files(second) == A


def test_adding_again_does_nothing(trees: Trees) -> None:
    point = trees.add(A)
    assert add(point, walk=trees.walk) == 0
    assert trees.walks == 1


def test_what_is_missing_comes_in_its_order(trees: Trees) -> None:
    old, new = trees.make(A), trees.make({"/srv/a.txt": (5, 50)})
    assert add(new, walk=trees.walk) == 2
    assert list_files(old) == A
    assert list_files(new) == {"/srv/a.txt": (5, 50)}


def test_a_file_that_becomes_a_folder_and_back(trees: Trees) -> None:
    states: list[Tree] = [
        {"/srv/x": (1, 1)},
        {"/srv/x/y": (2, 2), "/srv/x/z/deep": (3, 3)},
        {"/srv/x": (1, 1)},
        {"/srv/x/z/deep": (3, 3)},
        {},
        {"/srv/x/z/deep": (3, 3)},
    ]
    points = [trees.add(state) for state in states]
    assert [list_files(point) for point in points] == states
    assert [page.total for point in points if (page := entries(point, "/srv/x")) is not None] == [
        0,
        2,
        0,
        1,
        0,
        1,
    ]


def test_sources_do_not_mix(trees: Trees) -> None:
    srv = trees.add(A)
    stream = trees.add({"/base.tar": (7, 7)}, source="postgresql:15/main", part="base.tar")
    root = trees.add({"/srv/a.txt": (9, 9)}, source="/")
    assert list_files(srv) == A
    assert list_files(stream) == {"/base.tar": (7, 7)}
    assert list_files(root) == {"/srv/a.txt": (9, 9)}
    hits = search([trees.device], Query("a.txt")).hits
    assert sorted((hit.source, hit.size_bytes) for hit in hits) == [("/", 9), ("/srv", 1)]
    with pytest.raises(OtherSource):
        compare(srv, root)


def test_below_paths_each_thing_comes_once(trees: Trees) -> None:
    point = trees.add(A | {"/srv/www2/x": (4, 4), "/srv/www/deep/y": (5, 5)})
    found = under(point, ["/srv/www", "/srv/www/deep/y", "/srv/www/deep", "/srv/a.txt", "/srv/none"])
    assert found is not None
    assert [entry.path for entry in found] == [
        "/srv/a.txt", "/srv/www", "/srv/www/deep", "/srv/www/index.html", "/srv/www/deep/y",
    ]  # fmt: skip


def test_what_is_below_paths_is_measured(trees: Trees) -> None:
    point = trees.add(A | {"/srv/www2/x": (4, 4), "/srv/large": (2**63 - 1, 4)})
    for paths in (["/"], ["/srv"], ["/srv/www", "/srv/a.txt", "/srv/www/index.html"], ["/none"], []):
        found = list(under(point, paths) or ())
        files = [entry for entry in found if not entry.is_folder]
        size = sum(entry.size_bytes for entry in found)
        measured = measure(point, paths)
        assert measured is not None
        assert measured[:2] == (len(files), len(found) - len(files))
        assert measured.bytes == pytest.approx(size)


def test_the_versions_of_a_path(trees: Trees) -> None:
    points = [
        trees.add({"/srv/other": (1, 1)} | tree)
        for tree in (
            {},
            {"/srv/x": (1, 1)},
            {"/srv/x": (1, 1)},
            {"/srv/x": (2, 2)},
            {},
            {"/srv/x": (2, 2)},
            {},
        )
    ]
    found = versions(trees.device, "/srv", "/srv/x")
    assert found is not None
    told = [(each.kind, each.size_bytes, [holder.point for holder in each.holders]) for each in found]
    ids = [point.pk for point in points]
    assert told == [
        ("file", 1, ids[1:3]), ("file", 2, ids[3:4]), (None, 0, ids[4:5]), ("file", 2, ids[5:6]),
        (None, 0, ids[6:]),
    ]  # fmt: skip
    assert versions(trees.device, "/srv", "/srv/never") == []


def test_two_points_are_compared(trees: Trees) -> None:
    old = trees.add(A)
    new = trees.add({"/srv/a.txt": (5, 10), "/srv/www/index.html": (3, 30), "/srv/www/new": (7, 7)})
    made = compare(old, new)
    assert made is not None
    assert made.counts == (1, 1, 1, 7, 5, 1, 2)
    assert (made.counts.total, made.counts.growth) == (3, 9)
    assert [(folder.path, folder.counts.total) for folder in made.folders] == [("/srv", 2), ("/srv/www", 1)]
    page = compare_folder(old, new, "/srv")
    assert page is not None
    assert [(each.name, each.what) for each in page.changes] == [("a.txt", "changed"), ("b.txt", "removed")]
    back = compare(new, old)
    assert back is not None
    assert (back.counts.added, back.counts.removed) == (1, 1)
    same = compare(new, new)
    assert same is not None
    assert same.counts.total == 0


def test_sizes_that_a_device_claims_do_not_overflow(trees: Trees) -> None:
    old = trees.add({})
    new = trees.add({f"/srv/{number}": (2**63 - 1, 2**62) for number in range(5)})
    made = compare(old, new)
    assert made is not None
    assert made.counts.added_bytes > 2**64
    page = entries(new, "/srv")
    assert page is not None
    assert page.entries[0].modified_at is None


def test_a_point_that_the_catalogue_lost_is_dropped(trees: Trees) -> None:
    states: list[Tree] = [{"/srv/x": (n, n), "/srv/same": (0, 0), f"/srv/only{n}": (1, 1)} for n in range(5)]
    points = [trees.add(state) for state in states]
    for number in (4, 1, 0):
        points[number].delete()
        add_missing(trees.device, walk=trees.walk)
        del points[number], states[number]
        assert [list_files(point) for point in points] == states
    newest = trees.add({"/srv/x": (9, 9)})
    assert [list_files(point) for point in [*points, newest]] == [*states, {"/srv/x": (9, 9)}]
    RestorePoint.objects.all().delete()
    add_missing(trees.device, walk=trees.walk)
    with files.open_for_reading(files.file_of(trees.device)) as connection:
        assert connection is not None
        counts = [
            connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("entry", "folder", "state", "point", "series")
        ]
    assert counts == [0] * 5


PATHS = some.sampled_from(
    ["/a", "/a/b", "/a/b/c", "/a/bb", "/b", "/b/a/x", "/b/a", "/a.b", "/a-", "/\udcff/x"]
)
FILES = some.dictionaries(PATHS, some.tuples(some.integers(0, 2), some.just(5)), max_size=6)


def is_tree(tree: Tree) -> bool:
    """Nothing is a file and a folder at once."""
    return not any(path != other and other.startswith(f"{path}/") for path in tree for other in tree)


@budget(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    states=some.lists(FILES.filter(is_tree), min_size=1, max_size=6),
    gone=some.sets(some.integers(0, 5), max_size=3),
    more=FILES.filter(is_tree),
)
def test_it_says_what_each_point_holds(trees: Trees, states: list[Tree], gone: set[int], more: Tree) -> None:
    RestorePoint.objects.all().delete()
    points = [trees.add(state) for state in states]
    for number in gone & set(range(len(points))):
        points[number].delete()
    points, states = (
        [each for number, each in enumerate(points) if number not in gone],
        [each for number, each in enumerate(states) if number not in gone],
    )
    points.append(trees.add(more))
    states.append(more)
    assert [list_files(point) for point in points] == states
    for old, before in zip(points, states, strict=True):
        made = compare(old, points[-1])
        assert made is not None
        assert made.counts[:3] == (
            len(more.keys() - before.keys()),
            len([path for path in more.keys() & before.keys() if more[path] != before[path]]),
            len(before.keys() - more.keys()),
        )
    for path in {path for state in states for path in state}:
        told = {
            holder.point: version.size_bytes if version.kind == "file" else None
            for version in versions(trees.device, "/srv", path) or []
            for holder in version.holders
        }
        for point, state in zip(points, states, strict=True):
            assert told.get(point.pk) == (state[path][0] if path in state else None)
