"""What `dispatch` measures, in a process with Django set up on an empty database."""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise

from django.core.management import call_command
from django.db import connection, connections
from django.utils import timezone

from backupsite.fleet.models import Device, Tag
from backupsite.policies.models import Policy, PolicyDevice, Source
from backupsite.runs import due, kinds, tick
from backupsite.runs.closing import Outcome, close
from backupsite.runs.dispatch import take_next
from backupsite.runs.models import Outage, Run
from backupsite.runs.states import State
from tests.backupsite.runs.scripted import register_all
from tests.backupsite.runs.simulated import Simulation
from tests.bench import report

# Half of them are of a site that does not answer.
DEVICES = int(os.environ.get("HOTFLEET_BENCH_DEVICES", "10000"))
DARK = DEVICES // 2
# Claims and ends are measured for so many runs of those: the rate is the same for the rest, and PostgreSQL
# takes many minutes for all of them.
DRAINED = int(os.environ.get("HOTFLEET_BENCH_DRAINED", "2000"))
WORKERS, TICKS = 4, 2
TICK_BUDGET_S = 2
BUDGET_DELAY = 2


def measure() -> None:
    """Print the figures of the database of this process."""
    call_command("migrate", verbosity=0)
    kinds._kinds.clear()
    register_all()
    _seed()
    _measure_ticks()
    _measure_race()
    _measure_drain()
    _measure_dark()


def _seed() -> None:
    now = timezone.now()
    policies = [
        Policy.objects.create(slug=f"p{n}", name=f"Policy {n}", every_minutes=10_080, priority=n % 3)
        for n in range(5)
    ]
    Source.objects.bulk_create(Source(policy=policy, path="/srv") for policy in policies)
    devices = Device.objects.bulk_create(
        Device(slug=f"web-{n:05}", name=f"web-{n:05}", address=f"web-{n:05}.example.org")
        for n in range(DEVICES)
    )
    sites = [Tag.objects.create(name=name, is_site=True) for name in ("hamburg", "bremen")]
    sites[0].devices.set(devices[:DARK])
    sites[1].devices.set(devices[DARK:])
    PolicyDevice.objects.bulk_create(
        PolicyDevice(policy=policies[n % 5], device=device, succeeded_at=now - timedelta(minutes=n % 3000))
        for n, device in enumerate(devices)
    )


def _make_due() -> None:
    Run.objects.all().delete()
    Outage.objects.all().delete()
    now = timezone.now()
    PolicyDevice.objects.update(next_due=now - timedelta(seconds=30), overdue_told_at=now)


def _measure_ticks() -> None:
    _make_due()
    walls, processor = [], time.process_time()
    while PolicyDevice.objects.filter(next_due__lte=timezone.now()).exists():
        began = time.perf_counter()
        tick.tick("bench")
        walls.append(time.perf_counter() - began)
    processor = time.process_time() - processor
    report.say(f"ticks: {', '.join(f'{wall:.2f}' for wall in walls)} s, {Run.objects.count()} runs")
    report.say(f"processor time of all of them: {processor:.2f} s")
    report.print_budget(f"tick, {DEVICES:,} devices due, the longest", max(walls), TICK_BUDGET_S, unit=" s")
    report.say(report.say_load())


def _measure_race() -> None:
    """Ticks of several processes at once, with nothing but the database between them."""
    _make_due()
    began = time.perf_counter()
    _fork(TICKS, _tick_unleased)
    whole = time.perf_counter() - began
    count = Run.objects.count()
    once = Run.objects.values("device").distinct().count()
    report.say(f"{TICKS} ticks at once: {count} runs of {once} devices in {whole:.1f} s")


def _tick_unleased() -> None:
    while due.start_due(timezone.now()):
        pass


def _measure_drain() -> None:
    """Claims and ends of DRAINED of the runs, in as many processes as there are workers."""
    began = time.perf_counter()
    _fork(WORKERS, _drain)
    whole = time.perf_counter() - began
    ended = Run.objects.filter(state=State.SUCCEEDED).order_by("started_at", "number")
    places = list(ended.values_list("place", flat=True))
    late = sum(later < earlier for earlier, later in pairwise(places))
    done = len(places)
    report.say(
        f"drained by {WORKERS} processes: {done} runs in {whole:.0f} s, {done / whole:.0f} a second,"
        f" {late} started before one whose turn it was, {report.say_load()}"
    )


def _drain() -> None:
    times: list[float] = []
    while len(times) < DRAINED // WORKERS:
        began = time.perf_counter()
        lease = take_next("bulk")
        times.append(time.perf_counter() - began)
        if lease is None:
            break
        close(lease.rows(), Outcome(State.SUCCEEDED))
    report.say(
        f"   a claim: {statistics.median(times) * 1000:.1f} ms (median), {max(times) * 1000:.0f} ms (longest)"
    )


def _measure_dark() -> None:
    """In simulated time: how long the devices of one site take alone, and beside as many that are dark."""
    hamburg = set(Tag.objects.get(name="hamburg").devices.values_list("pk", flat=True))
    alone = _simulate(lambda device: False, hamburg, has_dark=False)
    beside = _simulate(lambda device: device in hamburg, hamburg, has_dark=True)
    report.print_budget(
        f"{DEVICES - DARK:,} devices beside a dark site ({beside}) against alone ({alone}), ratio",
        beside / alone,
        BUDGET_DELAY,
    )


def _simulate(is_dark: Callable[[int], bool], dark: set[int], *, has_dark: bool) -> timedelta:
    _make_due()
    if not has_dark:
        PolicyDevice.objects.filter(device__in=dark).update(next_due=None)
    began = time.perf_counter()
    simulation = Simulation(timezone.now(), is_dark=lambda device, _: is_dark(device), workers=WORKERS)
    start, healthy = simulation.now, DEVICES - DARK
    with simulation.clock():
        simulation.run_until(lambda: len(simulation.good) >= healthy, at_most=timedelta(days=3))
    failed = sum(state == State.FAILED for _, _, state in simulation.ended)
    report.say(
        f"   simulated: {len(simulation.ended) - failed} backups, {failed} failed,"
        f" {Outage.objects.count()} outages, in {time.perf_counter() - began:.0f} s"
    )
    return simulation.now - start


def _fork(count: int, work: Callable[[], None]) -> None:
    """Do `work` in so many processes at once. Raise RuntimeError when one of them does not end well."""
    connections.close_all()
    children = []
    for _ in range(count):
        child = os.fork()
        if child == 0:
            try:
                work()
                sys.stdout.flush()
            except BaseException:
                sys.excepthook(*sys.exc_info())
                os._exit(1)
            os._exit(0)
        children.append(child)
    ended = [os.waitpid(child, 0)[1] for child in children]
    connection.ensure_connection()
    if any(ended):
        raise RuntimeError(f"A process of the bench ended with {ended}.")
