"""What is due becomes runs, once."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

import pytest
from django.utils import timezone

from backupsite.alerts.models import Notice
from backupsite.fleet.models import Device
from backupsite.policies.models import Policy, PolicyDevice
from backupsite.policies.saving import plan_next
from backupsite.runs import due
from backupsite.runs.models import Run
from backupsite.runs.states import State
from tests.backupsite.runs.grounds import Ground, wait_until

pytestmark = pytest.mark.postgresql

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.fixture
def policy(db: None) -> Policy:
    return Policy.objects.create(name="hourly", slug="hourly", every_minutes=60)


def assign(policy: Policy, count: int, next_due: datetime | None = NOW) -> None:
    devices = Device.objects.bulk_create(Device(name=f"d{n}", slug=f"d{n}") for n in range(count))
    PolicyDevice.objects.bulk_create(
        PolicyDevice(policy=policy, device=device, next_due=next_due) for device in devices
    )


def test_what_is_due_becomes_one_run_each_and_is_due_again_later(policy: Policy) -> None:
    assign(policy, 3)
    PolicyDevice.objects.filter(device__name="d2").update(next_due=NOW + timedelta(seconds=1))
    assert due.start_due(NOW) == 2
    assert due.start_due(NOW) == 0
    runs = list(Run.objects.order_by("number"))
    assert [(run.number, run.kind, run.requested_by, run.state) for run in runs] == [
        (1, "backup", "schedule", "queued"),
        (2, "backup", "schedule", "queued"),
    ]
    assert {run.policy_id for run in runs} == {policy.pk}
    for row in PolicyDevice.objects.filter(device__in=[run.device_id for run in runs]):
        assert row.next_due is not None
        assert NOW < row.next_due <= NOW + timedelta(hours=1)


def test_missed_times_are_made_up_for_by_one_run(policy: Policy) -> None:
    assign(policy, 1, NOW - timedelta(days=30))
    assert due.start_due(NOW) == 1
    Run.objects.update(state=State.SUCCEEDED)
    assert due.start_due(NOW) == 0


def test_a_paused_policy_starts_nothing(policy: Policy) -> None:
    assign(policy, 1)
    Policy.objects.update(is_enabled=False)
    assert due.start_due(NOW) == 0


def test_a_device_whose_last_run_still_works_is_not_asked_twice(policy: Policy) -> None:
    assign(policy, 2)
    Run.objects.create(
        number=90, kind="backup", device=Device.objects.get(name="d0"), policy=policy,
        requested_by="ada", queued_at=NOW, state=State.RUNNING,
    )  # fmt: skip
    assert due.start_due(NOW) == 1
    assert PolicyDevice.objects.filter(next_due__lte=NOW).count() == 0


def test_more_than_a_batch_is_started(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(due, "BATCH", 10)
    assign(policy, 25)
    assert due.start_due(NOW) == 25
    assert list(Run.objects.order_by("number").values_list("number", flat=True)) == list(range(1, 26))


def test_saving_a_policy_plans_its_devices(policy: Policy) -> None:
    assign(policy, 3, None)
    plan_next(policy, NOW)
    times = set(PolicyDevice.objects.values_list("next_due", flat=True))
    assert len(times) == 3, "they do not all start at once"
    PolicyDevice.objects.filter(device__name="d0").update(next_due=NOW - timedelta(minutes=1))
    plan_next(policy, NOW)
    assert PolicyDevice.objects.get(device__name="d0").next_due == NOW - timedelta(minutes=1), "due stays due"
    policy.schedule, policy.at_time = Policy.DAILY, time(2, 30)
    policy.save()
    plan_next(policy, NOW)
    for row in PolicyDevice.objects.exclude(device__name="d0"):
        assert row.next_due is not None
        assert (row.next_due.hour, row.next_due.day) == (2, 23)
    policy.is_enabled = False
    policy.save()
    plan_next(policy, NOW)
    assert set(PolicyDevice.objects.values_list("next_due", flat=True)) == {None}


def test_one_tick_does_not_start_more_than_it_may(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(due, "BATCH", 10)
    monkeypatch.setattr(due, "MOST_A_TICK", 20)
    assign(policy, 25)
    assert [due.start_due(NOW), due.start_due(NOW)] == [20, 5]


def test_who_misses_the_target_is_told_once_until_a_backup_succeeds(policy: Policy) -> None:
    assign(policy, 2)
    policy.rpo = timedelta(hours=2)
    policy.save()
    PolicyDevice.objects.update(assigned_at=NOW - timedelta(hours=9), succeeded_at=NOW - timedelta(hours=1))
    assert due.tell_overdue(NOW) == 0
    PolicyDevice.objects.filter(device__name="d0").update(succeeded_at=NOW - timedelta(hours=3))
    PolicyDevice.objects.filter(device__name="d1").update(succeeded_at=None)
    assert due.tell_overdue(NOW) == 2
    assert due.tell_overdue(NOW) == 0
    titles = sorted(Notice.objects.values_list("title", flat=True))
    assert titles == ["d0: backup overdue", "d1: backup overdue"]
    texts = sorted(Notice.objects.values_list("text", flat=True))
    assert texts[0].startswith("No backup by the policy hourly has succeeded yet.")
    assert "started at 2026-11-22 09:00 UTC" in texts[1]
    assert texts[1].endswith("The target is 2 h.")


def test_a_device_that_has_just_come_under_a_policy_is_not_overdue(policy: Policy) -> None:
    assign(policy, 1)
    assert due.tell_overdue(timezone.now()) == 0


def race(ground: Ground, prepare: str, act: str) -> None:
    """Run `act` in eight processes at the same time: each has run `prepare` and waits for the last of them.

    Not at an agreed hour: on a busy machine the first would be through before the last has loaded Django.
    """
    go = ground.home / "go"
    wait = (
        "print('ready', flush=True)\nimport os, time\n"
        f"while not os.path.exists({str(go)!r}): time.sleep(0.001)"
    )
    racers = [ground.start_python(f"{prepare}\n{wait}\n{act}") for _ in range(8)]
    wait_until(lambda: ground.log().count("ready") == len(racers), 60, "they are not ready")
    go.touch()
    assert [racer.wait(60) for racer in racers] == [0] * len(racers), ground.log()


@pytest.mark.slow
def test_eight_schedulers_at_once_start_each_run_once(ground: Ground) -> None:
    ground.python(
        "from backupsite.fleet.models import Device\nfrom backupsite.policies.models import *\n"
        "p = Policy.objects.create(name='p', slug='p')\n"
        "ds = Device.objects.bulk_create([Device(name=f'd{n}', slug=f'd{n}') for n in range(60)])\n"
        "PolicyDevice.objects.bulk_create("
        "[PolicyDevice(policy=p, device=d, next_due='2026-01-01T00:00Z') for d in ds])"
    )
    race(
        ground,
        "from django.utils import timezone\nfrom backupsite.runs import due\ndue.BATCH = 7\n"
        "from django.db import connection; connection.ensure_connection()\n"
        # Who waits for SQLite sleeps up to 0.1 s: a racer that pauses longer lets the others in.
        "import time\nstart_batch = due._start_batch\n"
        "def pause(*words):\n    made = start_batch(*words)\n    time.sleep(0.2)\n    return made\n"
        "due._start_batch = pause",
        "print('made', due.start_due(timezone.now()))",
    )
    made = [int(line.split()[1]) for line in ground.log().splitlines() if line.startswith("made ")]
    assert (len(made), sum(made)) == (8, 60)
    answer = ground.python(
        "from backupsite.runs.models import Run\n"
        "answer = [Run.objects.count(), Run.objects.values('device').distinct().count(),"
        " sorted(Run.objects.values_list('number', flat=True))]"
    )
    assert answer == [60, 60, list(range(1, 61))]
    assert sum(1 for count in made if count) > 1, "they did not race"


@pytest.mark.slow
def test_eight_workers_at_once_take_a_run_once(ground: Ground) -> None:
    number = ground.request("backup", {})
    race(
        ground,
        "from backupsite.runs.lease import take\nfrom backupsite.runs.models import Run\n"
        f"run = Run.objects.get(number={number})",
        "print('took', take(run.pk) is not None)",
    )
    lines = ground.log().splitlines()
    assert (lines.count("took True"), lines.count("took False")) == (1, 7)
