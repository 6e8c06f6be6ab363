"""What `index` measures: 1,000,000 paths in 50 restore points, of which each changes 10,000 files.

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

from agents.restic.walking import Head, Walked, walk
from backupsite.fleet.models import Device
from backupsite.recovery.index.adding import add
from backupsite.recovery.index.comparing import compare
from backupsite.recovery.index.files import file_of
from backupsite.recovery.index.reading import entries, under
from backupsite.recovery.index.searching import Query, search
from backupsite.recovery.index.through_time import versions
from backupsite.recovery.models import RestorePoint
from tests.backupsite.making import make_device, make_point
from tests.bench import report

PATHS, POINTS, CHANGED, FOLDER = 1_000_000, 50, 10_000, 100_000
START = datetime(2026, 11, 1, tzinfo=UTC)
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


def list_lines(number: int) -> Iterator[bytes]:
    """What `restic ls --json` prints of the restore point `number`: one large folder, and 500 files each in
    the others. Every 100th file is as new as one of the restore points."""
    yield _line("/srv", "dir", 0, 0)
    yield _line("/srv/large", "dir", 0, 0)
    for count in range(FOLDER):
        yield _file("/srv/large", count, number)
    yield _line("/srv/uploads", "dir", 0, 0)
    for count in range(FOLDER, PATHS):
        folder = f"/srv/uploads/folder-{count // 500:05}"
        if count % 500 == 0:
            yield _line(folder, "dir", 0, 0)
        yield _file(folder, count, number)


def _file(folder: str, count: int, number: int) -> bytes:
    changed_in = count * CHANGED // PATHS % POINTS if count % (PATHS // CHANGED // 2) == 0 else 0
    name = f"file-{count:07}-{count * 2_654_435_761 % 2**32:08x}.dat"
    return _line(
        f"{folder}/{name}", "file", count * 7919 % 100_000, changed_in if changed_in <= number else 0
    )


def _line(path: str, kind: str, size: int, hours: int) -> bytes:
    at = (START + timedelta(hours=hours)).isoformat()
    return json.dumps(
        {
            "name": path.rpartition("/")[2], "type": kind, "path": path, "uid": 0, "gid": 0, "size": size,
            "mode": 420, "permissions": "-rw-r--r--", "mtime": at, "atime": at, "ctime": at,
            "inode": 4252423, "message_type": "node", "struct_type": "node",
        }
    ).encode()  # fmt: skip


@contextmanager
def walk_made(point: RestorePoint) -> Iterator[tuple[Head, Iterator[Walked]]]:
    lines = list_lines(int(point.method))
    yield Head(point.restic_id, point.restic_id), walk(lines, lambda: iter(()))


def measure() -> None:
    device = make_device()
    points = [
        make_point(device, None, START + timedelta(hours=hour), method=str(hour)) for hour in range(POINTS)
    ]
    _measure_adding(device, points)
    for name, query in QUERIES.items():
        found = search([device], query)
        took = _time(lambda query=query: search([device], query))
        report.print_budget(f"search, {name} ({len(found.hits)} hits)", took, 1, unit=" s")
    newest = points[-1]
    for sort in ("name", "-size", "-modified"):
        took = _time(lambda sort=sort: entries(newest, "/srv/large", sort=sort))
        report.print_budget(f"folder of {FOLDER:,} by {sort}, first page", took, 1, unit=" s")
    took = _time(lambda: entries(newest, "/srv/large", page=200))
    report.print_budget(f"folder of {FOLDER:,}, last page", took, 1, unit=" s")
    path = "/srv/large/file-0000050-e6a6b2a2.dat"
    report.say(f"versions of a file: {_time(lambda: versions(device, '/srv', path)) * 1000:.1f} ms")
    report.say(f"comparing the first with the last point: {_time(lambda: compare(points[0], newest)):.2f} s")
    report.say(f"everything below /srv: {_time(lambda: sum(1 for _ in under(newest, ['/srv']) or ())):.2f} s")


def _measure_adding(device: Device, points: list[RestorePoint]) -> None:
    began = time.monotonic()
    made = sum(1 for _ in list_lines(0))
    making = time.monotonic() - began
    taken: list[float] = []
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for point in points:
        began = time.monotonic()
        add(point, walk=walk_made)
        taken.append(time.monotonic() - began - making)
        if point is points[0]:
            report.say(
                f"index of one point: {file_of(device).stat().st_size / 1e6:.1f} MB for {made:,} paths"
            )
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib
    report.say(
        f"adding the first point {taken[0]:.1f} s, each other {statistics.median(taken[1:]):.1f} s (reading"
        f" the listing of {made:,} nodes included), {peak_kib / 1024:.0f} MiB of memory"
    )
    report.say(
        f"index of {POINTS} points: {file_of(device).stat().st_size / 1e6:.1f} MB, {report.say_load()}"
    )


def _time(call: Callable[[], object]) -> float:
    """The worst of some calls, as a person may meet it."""
    worst = 0.0
    for _ in range(TIMES):
        began = time.monotonic()
        call()
        worst = max(worst, time.monotonic() - began)
    return worst
