"""Which run a worker takes that wakes up."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from backupsite.fleet.models import Device, Tag
from backupsite.policies.models import Policy, PolicyDevice
from backupsite.repositories.models import Storage
from backupsite.runs import due
from backupsite.runs.closing import Outcome, close
from backupsite.runs.dispatch import list_ready, take_next
from backupsite.runs.models import Run
from backupsite.runs.requests import request_run
from backupsite.runs.standing import read_standing
from backupsite.runs.states import State
from tests.backupsite.making import make_device, make_policy, make_run, repository_of
from tests.backupsite.runs.grounds import Ground
from tests.backupsite.runs.test_due import race

pytestmark = [pytest.mark.django_db, pytest.mark.postgresql]
H = timedelta(hours=1)


def ask(name: str, kind: str = "backup", **fields: object) -> Run:
    """Ask for a run of a device, made when there is none of that name, in the order of the asking."""
    device = Device.objects.filter(name=name).first() or make_device(name)
    run = request_run(kind, device, request={}, requested_by="schedule")
    Run.objects.filter(pk=run.pk).update(place=timezone.now(), **fields)
    return run


def take_all(name: str = "bulk") -> list[str]:
    """Take until nothing may work any more and return whose runs they were, in order."""
    found = []
    while (lease := take_next("interactive" if name == "interactive" else "bulk")) is not None:
        found.append(Run.objects.get(pk=lease.run_id).device.name)
    return found


def end(name: str) -> None:
    close(Run.objects.filter(device__name=name, state=State.RUNNING), Outcome(State.SUCCEEDED))


def test_the_earliest_place_goes_first() -> None:
    now = timezone.now()
    for name, hours in (("late", 3), ("early", 1), ("middle", 2)):
        run = ask(name)
        Run.objects.filter(pk=run.pk).update(place=now + hours * H)
    assert take_all() == ["early", "middle", "late"]


def test_what_is_due_goes_by_the_priority_then_by_its_target_then_by_its_size() -> None:
    now = timezone.now()
    devices = {name: make_device(name) for name in ("never", "missed", "close", "small", "large", "first")}
    usual = make_policy(*[device for name, device in devices.items() if name != "first"], rpo_hours=10)
    make_policy(devices["first"], name="first", priority=Policy.FIRST)
    for name, hours in (("missed", 12), ("close", 9), ("small", 5), ("large", 5), ("first", 0)):
        PolicyDevice.objects.filter(device=devices[name]).update(succeeded_at=now - hours * H)
    for name, size in (("small", 10**6), ("large", 10**12)):
        repository = repository_of(devices[name])
        repository.used_bytes = size
        repository.save()
    PolicyDevice.objects.update(next_due=now)
    assert due.start_due(now) == 6
    assert take_all() == ["first", "missed", "never", "close", "small", "large"]
    assert usual.priority == Policy.USUAL


def test_one_that_is_asked_for_alone_stands_where_the_tick_would_put_it() -> None:
    now = timezone.now()
    device = make_device()
    policy = make_policy(device, rpo_hours=10)
    PolicyDevice.objects.update(next_due=now, succeeded_at=now - 11 * H)
    due.start_due(now)
    by_tick = Run.objects.get()
    by_tick.state = State.SUCCEEDED
    by_tick.save()
    alone = request_run("backup", device, policy=policy, request={"window": "hot"}, requested_by="schedule")
    assert abs(alone.place - by_tick.place) <= timedelta(minutes=5)
    by_hand = request_run("probe", device, request={}, requested_by="ada")
    assert by_hand.place == by_hand.queued_at, "interactive work stands in its own queue, in order"


def test_what_a_person_asks_for_goes_before_the_schedule() -> None:
    first = make_device("first")
    make_policy(first, name="first", priority=Policy.FIRST)
    PolicyDevice.objects.update(next_due=timezone.now())
    due.start_due(timezone.now())
    request_run("backup", make_device("mine"), request={}, requested_by="ada")
    assert take_all() == ["mine", "first"]


def test_interactive_work_never_waits_behind_bulk() -> None:
    site = Tag.objects.create(name="hamburg", is_site=True, most_runs=1)
    for name in ("one", "two"):
        ask(name)
        site.devices.add(Device.objects.get(name=name))
    ask("two", "probe")
    assert take_all() == ["one"]
    assert take_all("interactive") == ["two"], "limits hold back what nobody waits for"
    end("one")
    assert take_all() == [], "but it counts, and works on the device"
    end("two")
    assert take_all() == ["two"]


def test_a_busy_device_is_passed_over_and_its_run_is_not_touched() -> None:
    ask("one")
    assert take_all() == ["one"]
    ask("two")
    waits = make_run(Device.objects.get(name="one"), State.QUEUED, place=timezone.now() - H)
    assert take_all() == ["two"]
    waits.refresh_from_db()
    assert (waits.state, waits.not_before, waits.sequence) == (State.QUEUED, None, 0)
    end("one")
    assert take_all() == ["one"]


def test_a_run_is_not_taken_before_its_time() -> None:
    run = ask("one", not_before=timezone.now() + H)
    assert take_all() == []
    Run.objects.filter(pk=run.pk).update(not_before=timezone.now() - H)
    assert take_all() == ["one"]


def test_no_more_runs_of_a_storage_work_than_it_says() -> None:
    for name in ("a", "b", "c", "elsewhere"):
        ask(name)
        repository_of(Device.objects.get(name=name))
    Storage.objects.update(most_runs=2)
    other = Storage.objects.create(node=Storage.objects.get().node, name="other", path="/srv/other")
    repository = repository_of(Device.objects.get(name="elsewhere"))
    repository.storage = other
    repository.save()
    assert take_all() == ["a", "b", "elsewhere"]
    assert read_standing().full_storages.keys() == {Storage.objects.get(name="main").pk}
    end("a")
    assert take_all() == ["c"]


def test_no_more_runs_of_a_site_work_than_it_says() -> None:
    site = Tag.objects.create(name="hamburg", is_site=True, most_runs=1)
    word = Tag.objects.create(name="web", most_runs=0)
    for name in ("a", "b", "elsewhere"):
        ask(name)
        device = Device.objects.get(name=name)
        device.tags.set([word] if name == "elsewhere" else [site, word])
    assert take_all() == ["a", "elsewhere"], "a tag that is no site has no limit"
    end("a")
    assert take_all() == ["b"]


def test_one_drill_at_a_time_and_backups_go_on_beside_it() -> None:
    ask("c")
    for name in ("a", "b"):
        make_run(make_device(name), State.QUEUED, kind=Run.DRILL, place=timezone.now() - H)
    assert take_all() == ["a", "c"]


def test_ten_thousand_that_may_not_work_cost_the_same_queries() -> None:
    site = Tag.objects.create(name="hamburg", is_site=True, most_runs=1)
    ask("works")
    site.devices.add(Device.objects.get())
    assert take_all() == ["works"]
    devices = Device.objects.bulk_create(Device(name=f"d{n}", slug=f"d{n}") for n in range(50))
    site.devices.add(*devices)
    Run.objects.bulk_create(
        Run(number=100 + n, kind="backup", device=device, requested_by="schedule", queued_at=timezone.now())
        for n, device in enumerate(devices)
    )
    ask("healthy")
    with CaptureQueriesContext(connection) as queries:
        lease = take_next("bulk")
    assert lease is not None and Run.objects.get(pk=lease.run_id).device.name == "healthy"
    assert len(queries) <= 16, [query["sql"] for query in queries]


def test_what_waits_is_found_by_its_index() -> None:
    if connection.vendor == "sqlite":  # PostgreSQL decides by how much there is
        plan = list_ready("bulk", read_standing(), timezone.now()).order_by("place", "number")[:1].explain()
        assert "runs_waiting" in plan and "TEMP B-TREE" not in plan, plan
        assert "runs_device_newest (device_id=? AND number<?)" in plan, plan


@pytest.mark.slow
def test_eight_workers_at_once_keep_the_limits(ground: Ground) -> None:
    ground.python(
        "from backupsite.fleet.models import Device, Tag\nfrom backupsite.runs.requests import request_run\n"
        "site = Tag.objects.create(name='hamburg', is_site=True, most_runs=3)\n"
        "for n in range(12):\n"
        "    d = Device.objects.create(name=f'd{n}', slug=f'd{n}')\n"
        "    site.devices.add(d)\n"
        "    request_run('backup', d, request={}, requested_by='schedule')"
    )
    race(
        ground,
        "from backupsite.runs.dispatch import list_ready, take_next\n"
        "from django.db import connection; connection.ensure_connection()",
        "print('took', take_next('bulk') is not None)",
    )
    lines = ground.log().splitlines()
    assert (lines.count("took True"), lines.count("took False")) == (3, 5)
