"""What `pages` measures: 20 warm requests of each page through Django's test client, and ticks.

Wall time is what a reader waits for, processor time what the page costs: on a busy machine they differ.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import NamedTuple

from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from backupsite.accounts.models import User
from backupsite.policies.models import PolicyDevice
from backupsite.runs import tick
from backupsite.runs.models import Run
from backupsite.runs.states import State
from tests.bench import report
from tests.bench.seed import seed, spoil

TIMES = 20
PAGES = {
    "fleet page": "/",
    "fleet page, live part": "/?part=live",
    "device list": "/devices/",
    "device list, last page": "/devices/?page=200",
    "device list, outside": "/devices/?state=outside",
    "device list, searched": "/devices/?q=77&sort=name",
    "device page": "/devices/web-00123/",
    "runs list": "/runs/",
    "runs list, failed backups": "/runs/?state=failed&kind=backup",
    "runs list, succeeded": "/runs/?state=succeeded",
    "runs list, backups": "/runs/?kind=backup",
    "runs list, restores": "/runs/?kind=restore",
    "runs list, last page": "/runs/?page=20000",
    "policies": "/policies/",
}
# These have a budget; the others are told beside them.
BUDGETED = ("fleet page", "device list")
BUDGET_MS, TICK_BUDGET_S = 150, 2


class Times(NamedTuple):
    """Seconds of wall and of processor time of one piece of work."""

    wall: float
    processor: float


def measure() -> None:
    """Make the console in HOTFLEET_HOME, which must be empty, and print what its pages and ticks cost."""
    call_command("migrate", verbosity=0)
    call_command("collectstatic", verbosity=0, interactive=False)
    began = time.monotonic()
    seed(timezone.now())
    report.say(f"seeded in {time.monotonic() - began:.0f} s, {report.say_load()}")
    client = Client(SERVER_NAME="127.0.0.1", SERVER_PORT=str(settings.HOTFLEET_PORT))
    client.force_login(User.objects.create_user("ada", "correct horse battery", is_superuser=True))
    _measure_pages(client, PAGES)
    _measure_tick()
    report.say("\nthe newest backup of every device failed, and its restore points are too old:")
    spoil()
    _measure_pages(client, {name: PAGES[name] for name in BUDGETED})


def _measure_pages(client: Client, pages: dict[str, str]) -> None:
    rows = []
    walls: dict[str, float] = {}
    for name, address in pages.items():
        with CaptureQueriesContext(connection) as queries:
            answer = client.get(address)
            count = len(queries)
        if answer.status_code != 200:
            raise RuntimeError(f"{address} answers {answer.status_code}")
        times = [_time(partial(client.get, address)) for _ in range(TIMES)]
        walls[name] = _p95([each.wall for each in times]) * 1000
        middle, processor = (statistics.median(column) * 1000 for column in zip(*times, strict=True))
        size = f"{len(answer.content) / 1024:.0f}"
        rows.append([name, f"{middle:.0f}", f"{walls[name]:.0f}", f"{processor:.0f}", str(count), size])
    report.print_table(["page", "p50 ms", "p95 ms", "processor p50 ms", "queries", "KiB"], rows)
    for name in BUDGETED:
        report.print_budget(f"{name}, p95", walls[name], BUDGET_MS, unit=" ms")
    report.say(report.say_load())


def _measure_tick() -> None:
    tick.tick("bench")  # what is overdue is told once
    walls = [_time(lambda: tick.tick("bench")).wall for _ in range(TIMES)]
    report.print_budget("tick, nothing due, p95", _p95(walls), TICK_BUDGET_S, unit=" s")
    at_most = 0.0
    for _ in range(3):
        walls = list(_tick_until_nothing_is_due())
        waiting = Run.objects.filter(state=State.QUEUED)
        report.say(f"  {waiting.count()} devices due at once: ticks of {_say_seconds(walls)} s")
        waiting.delete()
        at_most = max(at_most, *walls)
    report.print_budget("tick, every device due, the longest of all", at_most, TICK_BUDGET_S, unit=" s")


def _tick_until_nothing_is_due() -> list[float]:
    PolicyDevice.objects.update(next_due=timezone.now() - timedelta(seconds=1))
    walls = []
    while PolicyDevice.objects.filter(next_due__lte=timezone.now()).exists():
        walls.append(_time(lambda: tick.tick("bench")).wall)
    return walls


def _time(work: Callable[[], object]) -> Times:
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return Times(time.perf_counter() - wall, time.process_time() - processor)


def _p95(seconds: list[float]) -> float:
    """Return what 95 % of the figures do not exceed: of 20 the last but one."""
    return sorted(seconds)[-(-len(seconds) * 95 // 100) - 1]


def _say_seconds(seconds: list[float]) -> str:
    return ", ".join(f"{each:.2f}" for each in seconds)
