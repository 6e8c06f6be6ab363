"""What `index` measures: 1,000,000 paths in 50 restore points, of which each changes 10,000.

The listing is what restic prints, made here: restic's own time to print it is told by `million`.
"""

from __future__ import annotations

import json
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial

from agents.restic.walking import Head, Walked, walk
from backupsite.fleet.models import Device
from backupsite.recovery.index.adding import add
from backupsite.recovery.index.comparing import compare
from backupsite.recovery.index.files import file_of
from backupsite.recovery.index.reading import entries, under
from backupsite.recovery.index.reading import measure as count_below
from backupsite.recovery.index.searching import Query, search
from backupsite.recovery.index.through_time import versions
from backupsite.recovery.models import RestorePoint
from tests.backupsite.making import make_device, make_point
from tests.bench import report

PATHS, POINTS, FOLDER = 1_000_000, 50, 100_000
START = datetime(2026, 11, 1, tzinfo=UTC)
_START_MS = round(START.timestamp() * 1000)
TIMES = 5
QUERIES = {
    "part of a name, few": Query("abc12"),
    "part of a name, none": Query("no such file"),
    "part of a name, all": Query("file"),
    "pattern": Query("*abc1?.dat"),
    "path": Query("folder-00212/file"),
    "path with pattern": Query("/srv/*/folder-019*/*f.dat"),
    "size only": Query(smallest=99_990),
    "time only": Query(since=START + timedelta(hours=POINTS - 1)),
}


def list_nodes(number: int) -> Iterator[Walked]:
    """The restore point `number`: one large folder, and 500 files each in the others. Half of all files
    change in one of the restore points."""
    yield Walked(b"/", b"srv", "dir", 0, 0)
    yield Walked(b"/srv", b"large", "dir", 0, 0)
    for count in range(FOLDER):
        yield _file(b"/srv/large", count, number)
    yield Walked(b"/srv", b"uploads", "dir", 0, 0)
    folder = b""
    for count in range(FOLDER, PATHS):
        if count % 500 == 0:
            folder = b"/srv/uploads/folder-%05d" % (count // 500)
            yield Walked(b"/srv/uploads", folder.rpartition(b"/")[2], "dir", 0, 0)
        yield _file(folder, count, number)


def _file(folder: bytes, count: int, number: int) -> Walked:
    changed_in = count // 2 % POINTS if count % 2 else 0
    name = b"file-%07d-%08x.dat" % (count, count * 2_654_435_761 % 2**32)
    hours = changed_in if changed_in <= number else 0
    return Walked(folder, name, "file", count * 7919 % 100_000, _START_MS + hours * 3_600_000)


def list_lines(number: int) -> Iterator[bytes]:
    """The same as `restic ls --json` prints it."""
    for node in list_nodes(number):
        at = (START + timedelta(milliseconds=(node.modified_ms or _START_MS) - _START_MS)).isoformat()
        path = (node.folder.rstrip(b"/") + b"/" + node.name).decode()
        yield json.dumps(
            {
                "name": node.name.decode(), "type": node.kind, "path": path, "uid": 0, "gid": 0,
                "size": node.size, "mode": 420, "permissions": "-rw-r--r--", "mtime": at, "atime": at,
                "ctime": at, "inode": 4252423, "message_type": "node", "struct_type": "node",
            }
        ).encode()  # fmt: skip


@contextmanager
def walk_made(point: RestorePoint) -> Iterator[tuple[Head, Iterator[Walked]]]:
    """The first two as lines of JSON, to measure that too; the others ready, to save the bench's time."""
    number = int(point.method)
    nodes = walk(list_lines(number), lambda: iter(())) if number < 2 else list_nodes(number)
    yield Head(point.restic_id, point.restic_id), nodes


def measure() -> None:
    device = make_device()
    points = [
        make_point(device, None, START + timedelta(hours=hour), method=str(hour)) for hour in range(POINTS)
    ]
    _measure_adding(device, points)
    for name, query in QUERIES.items():
        found = search([device], query)
        _tell(f"search, {name} ({len(found.hits)} hits)", partial(search, [device], query))
    newest = points[-1]
    for sort in ("name", "-size", "-modified"):
        _tell(
            f"folder of {FOLDER:,} by {sort}, first page", partial(entries, newest, "/srv/large", sort=sort)
        )
    _tell(f"folder of {FOLDER:,}, last page", partial(entries, newest, "/srv/large", page=200))
    path = "/srv/large/file-0000050-e6a6b2a2.dat"
    _tell("versions of a file", partial(versions, device, "/srv", path))
    _tell("comparing the first with the last point", partial(compare, points[0], newest), budget=None)
    _tell("measuring everything below /srv", partial(count_below, newest, ["/srv"]), budget=None)
    _tell("reading everything below /srv", lambda: sum(1 for _ in under(newest, ["/srv"]) or ()), budget=None)
    report.say(report.say_load())


def _measure_adding(device: Device, points: list[RestorePoint]) -> None:
    began = time.process_time()
    made = sum(1 for _ in list_lines(0))
    making = time.process_time() - began
    taken: list[float] = []
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for point in points:
        began = time.process_time()
        add(point, walk=walk_made)
        taken.append(time.process_time() - began)
        if point is points[0]:
            report.say(
                f"index of one point: {file_of(device).stat().st_size / 1e6:.1f} MB for {made:,} paths"
            )
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib
    report.say(
        f"adding the first point {taken[0] - making:.1f} s of processor time, the second"
        f" {taken[1] - making:.1f} s (reading {made:,} lines of JSON included),"
        f" {peak_kib / 1024:.0f} MiB of memory"
    )
    report.say(
        f"laying a listing beside the index without reading JSON: {statistics.median(taken[2:]):.1f} s"
    )
    report.say(
        f"index of {POINTS} points: {file_of(device).stat().st_size / 1e6:.1f} MB, {report.say_load()}"
    )


def _tell(what: str, call: Callable[[], object], *, budget: float | None = 1.0) -> None:
    """Call some times; print the usual time, and what it takes of a processor that others use too."""
    walls, processor = [], []
    for _ in range(TIMES):
        began, began_working = time.monotonic(), time.process_time()
        call()
        walls.append(time.monotonic() - began)
        processor.append(time.process_time() - began_working)
    what = f"{what}, {min(processor):.3f} s of processor time"
    if budget is None:
        report.say(f"{what}: {statistics.median(walls):.2f} s")
    else:
        report.print_budget(what, statistics.median(walls), budget, unit=" s")
