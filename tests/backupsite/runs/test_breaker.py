"""A site that does not answer: one alert, one try now and then, and nobody else waits for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from agents.errors import ConnectFailed, KeyRefused
from backupsite.alerts.models import Notice
from backupsite.fleet.models import Device, JumpHost, Tag
from backupsite.policies.models import Policy, PolicyDevice
from backupsite.runs import breaker, due
from backupsite.runs.closing import close, outcome_of
from backupsite.runs.dispatch import take_next, wake_ready
from backupsite.runs.lease import take
from backupsite.runs.models import Outage, Run
from backupsite.runs.outages import SHORTEST, covers
from backupsite.runs.requests import request_run
from backupsite.runs.states import State
from tests.backupsite.making import make_policy, make_run
from tests.backupsite.runs.grounds import Valkey
from tests.backupsite.runs.simulated import Simulation

pytestmark = [pytest.mark.django_db, pytest.mark.postgresql]
NOW = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def make_devices(name: str, count: int, **fields: object) -> list[Device]:
    return Device.objects.bulk_create(
        Device(name=f"{name}-{n}", slug=f"{name}-{n}", **fields) for n in range(count)
    )


def make_site(name: str, count: int) -> list[Device]:
    site = Tag.objects.create(name=name, is_site=True)
    devices = make_devices(name, count)
    site.devices.set(devices)
    return devices


def fail(*devices: Device, at: datetime = NOW, code: str = "unreachable") -> None:
    first = 10_000 + Run.objects.count()
    for number, device in enumerate(devices, first):
        Run.objects.create(
            number=number, kind="backup", device=device, requested_by="schedule", state=State.FAILED,
            error_code=code, phase="connect", queued_at=at, started_at=at, ended_at=at,
        )  # fmt: skip


def ask(device: Device, requested_by: str = "schedule") -> Run:
    return request_run("backup", device, request={}, requested_by=requested_by)


def take_all() -> list[str]:
    found = []
    while (lease := take_next("bulk")) is not None:
        found.append(Run.objects.get(pk=lease.run_id).device.name)
    return sorted(found)


def test_a_site_is_dark_when_five_of_it_fail_in_a_row_and_that_is_one_alert() -> None:
    devices = make_site("hamburg", 7)
    fail(*devices[:4])
    breaker.look(NOW)
    assert not Outage.objects.exists()
    fail(devices[4], at=NOW + MINUTE)
    breaker.look(NOW + MINUTE)
    breaker.look(NOW + 2 * MINUTE)
    outage = Outage.objects.get()
    assert (outage.scope, outage.since, outage.device_count) == (f"site-{outage.site_id}", NOW, 5)
    notice = Notice.objects.get()
    assert (notice.kind, notice.title) == ("site-dark", "Site hamburg does not answer")
    assert notice.text.startswith("7 devices cannot be reached since 2026-11-22 02:00 UTC: 5 were tried")


def test_an_answer_in_between_starts_the_count_again() -> None:
    devices = make_site("hamburg", 7)
    fail(*devices[:3])
    make_run(devices[6], started_at=NOW, ended_at=NOW + MINUTE, phase="transfer")
    fail(*devices[3:6], at=NOW + 2 * MINUTE)
    breaker.look(NOW + 3 * MINUTE)
    assert not Outage.objects.exists()


@pytest.mark.parametrize(
    ("state", "fields"),
    [
        (State.RUNNING, {"phase": "transfer"}),
        (State.FAILED, {"phase": "connect", "error_code": KeyRefused.code}),
        (State.FAILED, {"phase": "check", "error_code": "source-missing"}),
    ],
)
def test_what_counts_as_an_answer(state: State, fields: dict[str, str]) -> None:
    devices = make_site("hamburg", 7)
    fail(*devices[:5])
    ended_at = None if state == State.RUNNING else NOW + MINUTE
    make_run(devices[6], state, started_at=NOW, ended_at=ended_at, **fields)
    breaker.look(NOW + MINUTE)
    assert not Outage.objects.exists()


def test_a_connection_still_being_made_is_no_answer() -> None:
    devices = make_site("hamburg", 7)
    fail(*devices[:5])
    make_run(devices[6], State.RUNNING, started_at=NOW, phase="connect")
    breaker.look(NOW + MINUTE)
    assert Outage.objects.exists()


def test_one_device_that_fails_often_is_no_site_and_neither_are_two() -> None:
    devices = make_site("hamburg", 2)
    for minute in range(9):
        fail(*devices, at=NOW - minute * MINUTE)
    breaker.look(NOW)
    assert not Outage.objects.exists()


def test_laptops_that_sleep_and_what_failed_long_ago_make_nothing_dark() -> None:
    devices = make_site("hamburg", 12)
    Device.objects.filter(pk__in=[device.pk for device in devices[:6]]).update(is_always_on=False)
    fail(*devices[:6])
    fail(*devices[6:], at=NOW - breaker.RECENT - MINUTE)
    breaker.look(NOW)
    assert not Outage.objects.exists()


def test_what_stands_behind_a_jump_host_is_dark_together() -> None:
    way = JumpHost.objects.create(address="way.example.org", user="root")
    fail(*make_devices("inner", 5, jump_host=way))
    breaker.look(NOW)
    assert Outage.objects.get().jump_host == way


def test_the_fleet_is_dark_only_by_what_no_site_explains() -> None:
    others = make_devices("other", 20)
    fail(*make_site("hamburg", 5), *others[:9])
    breaker.look(NOW)
    assert [outage.site is not None for outage in Outage.objects.all()] == [True]
    fail(others[9])
    breaker.look(NOW)
    assert Outage.objects.filter(scope="fleet").count() == 1


def begin(site: list[Device], now: datetime) -> Outage:
    """Make a site dark whose next try is a minute away."""
    fail(*site[:5], at=now)
    breaker.look(now)
    return Outage.objects.get(site__devices=site[0])


def test_the_runs_of_a_dark_site_wait_others_and_those_of_persons_go_on() -> None:
    now = timezone.now()
    site = make_site("hamburg", 8)
    for device in (*site[:3], *make_devices("other", 2)):
        ask(device)
    begin(site, now)
    mine = ask(site[7], "ada")
    assert take_all() == sorted([mine.device.name, "other-0", "other-1"])
    assert Run.objects.filter(state=State.QUEUED).count() == 3, "no failed run each"


def test_the_machine_of_the_console_is_part_of_no_outage() -> None:
    now = timezone.now()
    own = Device.objects.create(name="console", slug="console", reach=Device.LOCAL)
    site = make_site("hamburg", 8)
    own.tags.set(Tag.objects.all())
    outage = begin(site, now)
    ask(own)
    Outage.objects.create(scope="fleet", since=now, next_try_at=now + MINUTE, device_count=9)
    assert take_all() == ["console"]
    assert covers(own.pk, [outage]) == []


def test_a_tag_that_is_no_site_any_more_holds_nobody() -> None:
    now = timezone.now()
    site = make_site("hamburg", 8)
    ask(site[6])
    begin(site, now)
    Tag.objects.update(is_site=False)
    breaker.look(now)
    assert take_all() == ["hamburg-6"]
    assert Notice.objects.count() == 1


def test_one_run_tries_and_the_next_one_only_later() -> None:
    now = timezone.now()
    site = make_site("hamburg", 8)
    for device in site[5:]:
        ask(device)
    outage = begin(site, now)
    assert take_all() == []
    Outage.objects.update(next_try_at=now)
    assert take_all() == ["hamburg-5"], "the first by its place, and only one"
    outage.refresh_from_db()
    assert outage.tried_at is not None and outage.next_try_at - outage.tried_at == SHORTEST
    run = Run.objects.get(state=State.RUNNING)
    failed = close(Run.objects.filter(pk=run.pk), outcome_of(ConnectFailed("Silence.")))
    retry = failed.retries.get()
    assert (retry.attempt, retry.requested_by) == (1, "schedule"), "an outage uses up no attempt"
    assert Notice.objects.count() == 1, "nobody is told of the single device"


def test_two_dark_sites_are_not_tried_at_the_same_time() -> None:
    now = timezone.now()
    for name in ("hamburg", "bremen"):
        site = make_site(name, 8)
        ask(site[6])
        begin(site, now)
    Outage.objects.update(next_try_at=now)
    assert len(take_all()) == 1
    Outage.objects.update(tried_at=now - MINUTE)
    assert len(take_all()) == 1


def test_when_one_answers_all_go_on() -> None:
    now = timezone.now() - 2 * MINUTE
    site = make_site("hamburg", 9)
    for device in site[5:]:
        ask(device)
    begin(site, now)
    Outage.objects.update(next_try_at=now)
    (name,) = take_all()
    Run.objects.filter(device__name=name, state=State.RUNNING).update(phase="check")
    breaker.look(timezone.now())
    assert Outage.objects.get().ended_at is not None
    assert len(take_all()) == 3
    assert list(Notice.objects.order_by("id").values_list("kind", flat=True)) == ["site-dark", "site-back"]


def test_a_worker_is_woken_for_a_try(valkey: Valkey) -> None:
    now = timezone.now()
    site = make_site("hamburg", 8)
    ask(site[6])
    begin(site, now)
    assert wake_ready(now) == 0
    assert wake_ready(now + 2 * MINUTE) == 1


def test_nobody_is_told_that_a_device_of_a_dark_site_is_overdue() -> None:
    now = timezone.now()
    site = make_site("hamburg", 8)
    make_policy(*site, rpo_hours=1)
    PolicyDevice.objects.update(assigned_at=now - timedelta(hours=2))
    begin(site, now)
    assert due.tell_overdue(now) == 0
    Outage.objects.update(ended_at=now)
    assert due.tell_overdue(now) == 8


def test_a_run_of_a_site_that_answers_fails_as_ever() -> None:
    (device, *_) = make_site("hamburg", 8)
    for attempt, retries in ((1, 1), (3, 0)):
        run = ask(device)
        Run.objects.filter(pk=run.pk).update(attempt=attempt)
        assert take(run.pk) is not None
        assert close(Run.objects.filter(pk=run.pk), outcome_of(ConnectFailed("?"))).retries.count() == retries
        Run.objects.filter(state=State.QUEUED).delete()


def simulate(dark: int, healthy: int) -> tuple[timedelta, Simulation]:
    """Have a fleet be due at once, some of it in a site that is dark; return when the last healthy device was
    backed up, and what happened."""
    devices = [*make_site("dark", dark), *make_site("healthy", healthy)]
    policy = make_policy(name="daily", rpo_hours=26, schedule="daily", at_time=NOW.time())
    PolicyDevice.objects.bulk_create(
        PolicyDevice(
            policy=policy,
            device=device,
            next_due=NOW,
            # Those of the dark site have waited for longer: they go first.
            succeeded_at=NOW - timedelta(hours=48 if device.name.startswith("dark") else 24),
        )
        for device in devices
    )
    silent = {device.pk for device in devices if device.name.startswith("dark")}
    simulation = Simulation(NOW, is_dark=lambda device, _: device in silent)
    with simulation.clock():
        simulation.run_until(lambda: len(simulation.good) >= healthy, at_most=timedelta(hours=20))
    assert len(simulation.good) == healthy
    return simulation.now - NOW, simulation


def test_a_dark_half_of_the_fleet_does_not_delay_the_other_by_more_than_twice() -> None:
    alone, _ = simulate(0, 60)
    Tag.objects.all().delete()
    Policy.objects.all().delete()
    Device.objects.all().delete()
    beside, simulation = simulate(60, 60)
    assert beside <= 2 * alone, f"{beside} beside a dark site, {alone} alone"
    failures = sum(state == State.FAILED for _, _, state in simulation.ended)
    assert failures <= 20, "most of the dark runs wait, and do not fail"
    assert Outage.objects.count() == 1
    assert Notice.objects.filter(kind="site-dark").count() == 1


def test_a_site_that_comes_back_is_found_and_nobody_of_it_is_forgotten() -> None:
    site = make_site("hamburg", 30)
    policy = make_policy(*site, name="daily", schedule="daily", at_time=NOW.time())
    PolicyDevice.objects.filter(policy=policy).update(next_due=NOW)
    back = NOW + timedelta(minutes=40)
    simulation = Simulation(NOW, is_dark=lambda _, now: now < back)
    with simulation.clock():
        simulation.run_until(lambda: len(simulation.good) >= 30, at_most=timedelta(hours=4))
    assert simulation.good == {device.pk for device in site}
    assert not Run.objects.filter(state=State.QUEUED).exists()
    outage = Outage.objects.filter(site__isnull=False).get()
    assert outage.ended_at is not None and outage.ended_at - back < timedelta(minutes=7)
    assert not Notice.objects.filter(kind="backup-failed").exists()
