"""What blocked hours stop goes on later; what cannot begin waits as the same run; who is away is no alarm."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from django.utils import timezone

from agents.errors import ConnectFailed, HoursBlocked
from agents.events import Moved, Phase, PhaseStarted, Said, Tell
from backupsite.alerts.models import Notice
from backupsite.fleet.models import Device
from backupsite.policies.models import BlockedHours, Policy, PolicyDevice, Source
from backupsite.recovery import backups
from backupsite.recovery.hours import hours_of
from backupsite.runs import due, later
from backupsite.runs.execute import execute_run
from backupsite.runs.kinds import Control, PutOff
from backupsite.runs.models import Run
from backupsite.runs.report import make_report
from backupsite.runs.requests import SCHEDULE, cancel_run, request_run
from backupsite.runs.states import State
from backupsite.runs.waiting import explain_one
from tests.backupsite.runs.scripted import Scripted

pytestmark = [pytest.mark.django_db, pytest.mark.postgresql]
MONDAY = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture
def policy(device: Device) -> Policy:
    made = Policy.objects.create(name="p", slug="p", when_blocked=Policy.STOP)
    Source.objects.create(policy=made, path="/etc")
    PolicyDevice.objects.create(policy=made, device=device)
    return made


def ask(policy: Policy, device: Device, **request: Any) -> Run:
    return request_run("backup", device, policy=policy, request=request, requested_by=SCHEDULE)


def execute(run: Run) -> Run:
    execute_run(str(run.pk))
    run.refresh_from_db()
    return run


def raising(error: Exception) -> Callable[..., None]:
    def do(run: Run, tell: Tell, control: Control) -> None:
        tell(PhaseStarted(Phase.CONNECT))
        tell(Said("It begins."))
        tell(Moved(bytes_done=1, files_done=1, stored_bytes=1, problems=0))
        raise error

    return do


def block_now(policy: Policy) -> datetime:
    """Block the hour around now; return its end."""
    now = timezone.now()
    begins, ends = (now + timedelta(minutes=minutes) for minutes in (-30, 30))
    BlockedHours.objects.create(
        policy=policy,
        begins=begins.time().replace(microsecond=0),
        ends=ends.time().replace(second=0, microsecond=0),
    )
    return ends.replace(second=0, microsecond=0)


def test_a_run_that_blocked_hours_stopped_goes_on_after_them_without_an_alarm(
    policy: Policy, device: Device, scripted: dict[str, Scripted]
) -> None:
    end = block_now(policy)
    scripted["backup"].do = raising(HoursBlocked("Stopped at 08:00.", remedy="It goes on from there."))
    run = execute(ask(policy, device, window="hot"))
    assert (run.state, run.error_code, run.error_text) == (
        State.CANCELLED,
        "blocked-hours",
        "Stopped at 08:00.",
    )
    report = make_report(run, 0)
    assert report is not None
    assert report.title == "The backup stopped for blocked hours"
    assert not Notice.objects.exists()
    following = Run.objects.exclude(pk=run.pk).get()
    assert (following.not_before, following.attempt, following.request) == (end, 1, {"window": "hot"})
    # Weeks of a first backup: each day stops it, and each night it goes on.
    for _ in range(5):
        Run.objects.filter(state=State.QUEUED).update(not_before=None)
        execute(Run.objects.get(state=State.QUEUED))
    assert Run.objects.filter(state=State.QUEUED).count() == 1
    assert PolicyDevice.objects.get().succeeded_at is None


def test_a_cold_run_that_was_stopped_does_not_come_back_at_another_time(
    policy: Policy, device: Device, scripted: dict[str, Scripted]
) -> None:
    block_now(policy)
    scripted["backup"].do = raising(HoursBlocked("Stopped."))
    execute(ask(policy, device, window="cold"))
    assert not Run.objects.filter(state=State.QUEUED).exists()


def test_what_cannot_begin_waits_as_the_same_run(
    policy: Policy, device: Device, scripted: dict[str, Scripted]
) -> None:
    until = timezone.now() + timedelta(minutes=5)
    scripted["backup"].do = raising(PutOff(until, "away", "its device does not answer"))
    run = ask(policy, device)
    for _ in range(4):
        execute(run)
        assert (run.state, run.not_before, run.lease_until, run.started_at) == (
            State.QUEUED,
            until,
            None,
            None,
        )
        assert (run.lines.count(), run.phases.count(), run.attempt) == (0, 0, 1)
        Run.objects.update(not_before=None)
    assert Run.objects.count() == 1
    assert not Notice.objects.exists()
    Run.objects.update(not_before=until)
    run.refresh_from_db()
    wait = explain_one(run, timezone.now())
    assert wait is not None
    assert (wait.text, wait.until) == ("its device does not answer", until)
    Run.objects.update(not_before=None)
    scripted["backup"].do = lambda *_: None
    run = execute(run)
    assert (run.state, run.error_code, run.error_text) == (State.SUCCEEDED, "", "")


def test_a_run_that_waits_can_be_cancelled_also_while_it_tries(
    policy: Policy, device: Device, scripted: dict[str, Scripted]
) -> None:
    def do(run: Run, tell: Tell, control: Control) -> None:
        cancel_run(run, by="ada")
        raise PutOff(timezone.now() + timedelta(minutes=5), "away", "it is away")

    scripted["backup"].do = do
    run = execute(ask(policy, device))
    assert (run.state, run.error_code) == (State.CANCELLED, "cancelled")


def test_no_run_of_the_schedule_begins_in_blocked_hours_and_a_person_may(
    policy: Policy, device: Device
) -> None:
    end = block_now(policy)
    with pytest.raises(PutOff) as caught:
        hours_of(ask(policy, device))
    assert caught.value.until == end
    by_hand = Run(device=device, policy=policy, requested_by="ada")
    assert hours_of(by_hand).look() is None


def test_hours_that_begin_during_a_run_end_it_pause_it_or_let_it_finish(
    policy: Policy, device: Device
) -> None:
    run = ask(policy, device)
    for wanted, is_stop in ((Policy.STOP, True), (Policy.PAUSE, False)):
        policy.when_blocked = wanted
        policy.save()
        run.refresh_from_db()
        now = timezone.now()
        BlockedHours.objects.all().delete()
        assert hours_of(run).look() is None
        # They begin while it works.
        row = BlockedHours.objects.create(
            policy=policy, begins=(now + timedelta(hours=2)).time(), ends=(now + timedelta(hours=3)).time()
        )
        hours = hours_of(run)
        assert hours.look() is None
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(timezone, "now", lambda now=now: now + timedelta(hours=2, minutes=1))
            block = hours.look()
        assert block is not None
        assert block.is_stop is is_stop
        assert block.ends == f"{row.ends:%H:%M}"
    Policy.objects.update(when_blocked=Policy.FINISH)
    run.refresh_from_db()
    assert hours_of(run).look() is None


def test_a_machine_that_is_not_always_on_is_waited_for_and_a_server_fails(
    policy: Policy, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_session(_: Device) -> None:
        raise ConnectFailed("No route to host.")

    monkeypatch.setattr(backups, "open_session", open_session)
    run = ask(policy, device)
    with pytest.raises(ConnectFailed):
        backups._open(run)
    Device.objects.update(is_always_on=False)
    run.device.refresh_from_db()
    with pytest.raises(PutOff):
        backups._open(run)
    run.requested_by = "ada"
    with pytest.raises(ConnectFailed):
        backups._open(run)


def test_a_machine_that_is_away_is_tried_every_few_minutes_and_more_seldom_later() -> None:
    now = timezone.now()
    waits = {
        days: later.wait_for_device(Run(queued_at=now - days), now) - now
        for days in (timedelta(0), timedelta(hours=1), timedelta(hours=2), timedelta(days=20))
    }
    minutes = [round(wait / timedelta(minutes=1)) for wait in waits.values()]
    assert minutes == [5, 10, 20, 30]


@pytest.mark.parametrize(
    ("is_always_on", "reached_h", "has_run", "is_told"),
    [
        (True, 1, True, True),
        (False, 1, True, False),
        (False, 1, False, True),
        (False, 30, True, True),
        (False, None, True, True),
    ],
)
def test_who_is_away_is_an_alarm_only_after_the_target_since_it_was_reached(
    policy: Policy,
    device: Device,
    is_always_on: bool,
    reached_h: int | None,
    has_run: bool,
    is_told: bool,
) -> None:
    now = timezone.now()
    reached = None if reached_h is None else now - timedelta(hours=reached_h)
    Device.objects.update(is_always_on=is_always_on, reached_at=reached)
    Policy.objects.update(rpo=timedelta(hours=26))
    PolicyDevice.objects.update(succeeded_at=now - timedelta(days=3))
    if has_run:
        ask(policy, device)
    assert due.tell_overdue(now) == is_told
    assert Notice.objects.filter(kind="backup-overdue").count() == is_told


def test_a_failed_attempt_never_moves_what_was_good(
    policy: Policy, device: Device, scripted: dict[str, Scripted]
) -> None:
    good = MONDAY - timedelta(days=1)
    PolicyDevice.objects.update(succeeded_at=good, cold_succeeded_at=good, overdue_told_at=MONDAY)
    BlockedHours.objects.create(policy=policy, begins=time(0), ends=time(0, 1))
    for error in (ConnectFailed("No."), HoursBlocked("Stopped."), ValueError("a fault")):
        scripted["backup"].do = raising(error)
        for window in ("hot", "cold"):
            execute(ask(policy, device, window=window))
            Run.objects.filter(state=State.QUEUED).delete()
    row = PolicyDevice.objects.get()
    assert (row.succeeded_at, row.cold_succeeded_at, row.overdue_told_at) == (good, good, MONDAY)
