"""Hot by the schedule, cold in the window: what is due, what a run takes, and in which order."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from django.utils import timezone

from agents.errors import PlanRefused
from backupsite.alerts.models import Notice
from backupsite.fleet.models import Device
from backupsite.policies.models import Policy, PolicyDevice, Source
from backupsite.policies.saving import plan_next
from backupsite.recovery.backups import sources_of
from backupsite.runs import due
from backupsite.runs.closing import Outcome, close
from backupsite.runs.lease import take
from backupsite.runs.models import Run
from backupsite.runs.states import State
from tests.backupsite.making import make_device, make_point, make_policy, make_run
from tests.backupsite.runs.grounds import Ground
from tests.backupsite.runs.test_due import race

pytestmark = pytest.mark.postgresql
# A Sunday.
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.fixture
def device(db: None) -> Device:
    return make_device()


def make_mixed(*devices: Device, **fields: Any) -> Policy:
    """Hot every hour, cold on Sunday at 03:00: /hot, /cold, /both, /wait, /out."""
    given: dict[str, Any] = {
        "cold_is_enabled": True,
        "cold_weekday": 6,
        "cold_at_time": time(3),
        "every_minutes": 60,
        **fields,
    }
    policy = make_policy(*devices, paths=(), **given)
    for mode in ("hot", "cold", "both", "out"):
        Source.objects.create(policy=policy, path=f"/{mode}", mode=mode, services="nginx")
    Source.objects.create(policy=policy, path="/wait", if_hot_impossible="wait", services="nginx")
    return policy


def taken(run: Run) -> list[tuple[str, str]]:
    return [(source.path, source.mode) for source in sources_of(run)]


def test_saving_plans_the_schedule_and_the_window(device: Device) -> None:
    policy = make_mixed(device)
    plan_next(policy, NOW)
    row = PolicyDevice.objects.get()
    assert row.next_due is not None and NOW < row.next_due <= NOW + timedelta(hours=1)
    assert row.next_cold_due is not None and (row.next_cold_due.day, row.next_cold_due.hour) == (29, 3)
    policy.cold_is_enabled = False
    policy.save()
    plan_next(policy, NOW)
    assert PolicyDevice.objects.get().next_cold_due is None


def test_a_window_that_nothing_needs_starts_nothing(device: Device) -> None:
    policy = make_policy(device, paths=("/srv",), cold_is_enabled=True)
    plan_next(policy, NOW)
    assert PolicyDevice.objects.get().next_cold_due is None


def test_a_schedule_has_nothing_to_do_when_all_is_cold_in_a_window_or_left_out(device: Device) -> None:
    policy = make_policy(device, paths=("/srv",), cold_is_enabled=True)
    policy.sources.update(mode="cold")
    plan_next(policy, NOW)
    row = PolicyDevice.objects.get()
    assert row.next_due is None and row.next_cold_due is not None
    policy.sources.update(mode="out")
    plan_next(policy, NOW)
    assert PolicyDevice.objects.filter(next_due=None, next_cold_due=None).exists()


def test_both_are_due_at_once_and_neither_is_lost_cold_first(device: Device) -> None:
    policy = make_mixed(device)
    PolicyDevice.objects.update(next_due=NOW, next_cold_due=NOW)
    assert due.start_due(NOW) == 2
    assert due.start_due(NOW) == 0
    cold, hot = Run.objects.order_by("number")
    assert [cold.request, hot.request] == [{"window": "cold"}, {"window": "hot"}]
    assert {cold.policy, hot.policy} == {policy}
    row = PolicyDevice.objects.get()
    assert row.next_due is not None and row.next_due > NOW
    assert row.next_cold_due is not None and row.next_cold_due > NOW + timedelta(days=6)
    assert take(hot.pk) is None, "the cold one goes first"
    lease = take(cold.pk)
    assert lease is not None
    assert take(hot.pk) is None, "one after the other"
    close(lease.rows(), Outcome(State.SUCCEEDED))
    assert take(hot.pk) is not None


def test_a_cold_run_that_waits_for_its_retry_lets_the_hot_one_go(device: Device) -> None:
    policy = make_mixed(device)
    first = make_run(device, State.FAILED, policy=policy, request={"window": "cold"})
    make_run(
        device, State.QUEUED, policy=policy, request={"window": "cold"}, retry_of=first,
        not_before=timezone.now() + timedelta(seconds=2),
    )  # fmt: skip
    hot = make_run(device, State.QUEUED, policy=policy, request={"window": "hot"})
    assert take(hot.pk) is not None


@pytest.mark.parametrize(("running", "made"), [("hot", ["cold"]), ("cold", ["hot"])])
def test_a_run_that_works_never_stands_for_one_of_the_other_window(
    device: Device, running: str, made: list[str]
) -> None:
    policy = make_mixed(device)
    make_run(device, State.RUNNING, policy=policy, request={"window": running})
    Run.objects.update(number=90)
    PolicyDevice.objects.update(next_due=NOW, next_cold_due=NOW)
    assert due.start_due(NOW) == 1
    queued = Run.objects.filter(state=State.QUEUED)
    assert [run.request["window"] for run in queued] == made


def test_the_schedule_is_the_window_when_everything_is_cold(device: Device) -> None:
    policy = make_policy(device, paths=("/srv",))
    policy.sources.update(mode="cold", services="nginx")
    PolicyDevice.objects.update(next_due=NOW)
    due.start_due(NOW)
    Run.objects.update(queued_at=timezone.now())
    run = Run.objects.get()
    assert run.request == {"window": "cold"}
    assert taken(run) == [("/srv", "cold")]


def test_what_a_run_takes(device: Device) -> None:
    policy = make_mixed(device)
    hot = make_run(device, policy=policy, request={"window": "hot"})
    assert taken(hot) == [("/both", "hot"), ("/hot", "hot"), ("/wait", "hot")]
    assert taken(make_run(device, policy=policy)) == taken(hot), "by hand, nothing is stopped"
    cold = make_run(device, policy=policy, request={"window": "cold"})
    make_point(device, policy, NOW, "/hot", run=hot)
    assert taken(cold) == [("/both", "cold"), ("/cold", "cold"), ("/wait", "cold")]
    make_point(device, policy, NOW, "/wait", run=hot)
    assert taken(cold) == [("/both", "cold"), ("/cold", "cold")], (
        "hot was possible: nothing is stopped for it"
    )
    make_run(device, policy=policy, request={"window": "hot"})
    newest = make_run(device, policy=policy, request={"window": "cold"})
    assert ("/wait", "cold") in taken(newest), "the newest hot run did not make it"
    assert sources_of(cold)[0].services == ("nginx",)


def test_a_window_that_was_missed_is_not_made_up_for_in_the_morning(device: Device) -> None:
    make_mixed(device)
    late = NOW - timedelta(hours=2, minutes=1)
    PolicyDevice.objects.update(next_due=late, next_cold_due=late)
    assert due.start_due(NOW) == 1
    assert Run.objects.get().request == {"window": "hot"}, "a hot run stops nothing"
    row = PolicyDevice.objects.get()
    assert row.next_cold_due is not None and row.next_cold_due > NOW
    PolicyDevice.objects.update(next_cold_due=NOW - timedelta(hours=1, minutes=59))
    assert due.start_due(NOW) == 1


def test_a_cold_run_that_waited_too_long_stops_nothing(device: Device) -> None:
    policy = make_mixed(device)
    late = timezone.now() - timedelta(hours=3)
    first = make_run(device, State.FAILED, policy=policy, request={"window": "cold"}, at=late)
    again = make_run(device, policy=policy, request={"window": "cold"}, retry_of=first)
    for run in (first, again):
        with pytest.raises(PlanRefused, match="window was over"):
            sources_of(run)
    first.requested_by = "ada"
    assert sources_of(first), "a person asked for it"
    hot = make_run(device, policy=policy, request={"window": "hot"}, at=late)
    assert sources_of(hot)


def test_a_run_without_anything_to_take_says_so(device: Device) -> None:
    policy = make_policy(device, paths=("/srv",))
    with pytest.raises(PlanRefused, match="copied cold"):
        sources_of(make_run(device, policy=policy, request={"window": "cold"}))
    policy.sources.update(mode="out")
    with pytest.raises(PlanRefused, match="copied hot"):
        sources_of(make_run(device, policy=policy))


def test_a_good_run_counts_for_its_own_window(device: Device) -> None:
    policy = make_mixed(device)
    row = PolicyDevice.objects.get()
    for window, told in (("cold", (False, True)), ("hot", (True, True))):
        run = make_run(device, State.QUEUED, policy=policy, request={"window": window})
        lease = take(run.pk)
        assert lease is not None
        close(lease.rows(), Outcome(State.SUCCEEDED))
        row.refresh_from_db()
        assert (row.succeeded_at is not None, row.cold_succeeded_at is not None) == told


def test_a_cold_window_that_is_missed_is_told_once(device: Device) -> None:
    policy = make_mixed(device, cold_rpo=timedelta(days=8), rpo_hours=400)
    Policy.objects.update(changed_at=NOW - timedelta(days=30))
    PolicyDevice.objects.update(assigned_at=NOW - timedelta(days=9), succeeded_at=NOW)
    assert due.tell_overdue(NOW) == 1
    assert due.tell_overdue(NOW) == 0
    notice = Notice.objects.get()
    assert notice.title == "db-01: cold backup overdue"
    assert notice.text.endswith("The target is 8 days.")
    PolicyDevice.objects.update(cold_overdue_told_at=None)
    policy.sources.exclude(mode="hot").delete()
    assert due.tell_overdue(NOW) == 0, "nothing is required cold"
    policy.sources.all().update(mode="cold")
    Policy.objects.update(cold_is_enabled=False)
    PolicyDevice.objects.update(succeeded_at=NOW - timedelta(days=20))
    assert due.tell_overdue(NOW) == 1, "its schedule is the window"


@pytest.mark.slow
def test_eight_schedulers_at_once_start_each_window_once(ground: Ground) -> None:
    ground.python(
        "from backupsite.fleet.models import Device\nfrom backupsite.policies.models import *\n"
        "p = Policy.objects.create(name='p', slug='p', cold_is_enabled=True)\n"
        "Source.objects.create(policy=p, path='/srv', mode='both')\n"
        "ds = Device.objects.bulk_create([Device(name=f'd{n}', slug=f'd{n}') for n in range(30)])\n"
        "from django.utils import timezone\n"
        "PolicyDevice.objects.bulk_create([PolicyDevice(policy=p, device=d,"
        " next_due='2026-01-01T00:00Z', next_cold_due=timezone.now()) for d in ds])"
    )
    race(
        ground,
        "from django.utils import timezone\nfrom backupsite.runs import due\ndue.BATCH = 7\n"
        "from django.db import connection; connection.ensure_connection()",
        "print('made', due.start_due(timezone.now()))",
    )
    answer = ground.python(
        "from backupsite.runs.models import Run\n"
        "rows = [(r.device_id, r.request['window'], r.number) for r in Run.objects.all()]\n"
        "first = {d: min(n for d2, w, n in rows if (d2, w) == (d, 'cold')) for d, _, _ in rows}\n"
        "answer = [len(rows), len({r[:2] for r in rows}),"
        " all(first[d] < n for d, w, n in rows if w == 'hot')]"
    )
    assert answer == [60, 60, True]
