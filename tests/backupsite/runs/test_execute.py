"""One run in this process: every end of its work is one final state."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from agents.errors import AgentError, ConnectionLost, KeyRefused, LeaseLost, ServiceDown
from agents.events import Said, Tell
from backupsite.alerts.models import Notice
from backupsite.fleet.models import Device
from backupsite.policies.models import Policy, PolicyDevice
from backupsite.runs import kinds
from backupsite.runs.execute import execute_run, stopper
from backupsite.runs.models import Run
from backupsite.runs.requests import request_run
from backupsite.runs.states import State
from tests.backupsite.runs.scripted import Scripted

pytestmark = [pytest.mark.django_db, pytest.mark.postgresql]

Scripts = dict[str, Scripted]


@pytest.fixture
def policy(device: Device) -> Policy:
    made = Policy.objects.create(name="hourly", slug="hourly")
    PolicyDevice.objects.create(policy=made, device=device)
    return made


def execute(device: Device, kind: str = "backup", **given: Any) -> Run:
    """Request a run, execute it, return its row."""
    run = request_run(kind, device, request={}, requested_by="ada", **given)
    execute_run(str(run.pk))
    run.refresh_from_db()
    return run


def raising(error: BaseException) -> Callable[..., None]:
    def do(*_: object) -> None:
        raise error

    return do


def test_a_good_run_succeeds_and_its_policy_knows(device: Device, policy: Policy) -> None:
    PolicyDevice.objects.update(overdue_told_at=timezone.now())
    run = execute(device, policy=policy)
    assert (run.state, run.error_code, run.lease_until) == (State.SUCCEEDED, "", None)
    assigned = PolicyDevice.objects.get()
    assert (assigned.succeeded_at, assigned.overdue_told_at) == (run.started_at, None)
    assert [phase.ended_at is None for phase in run.phases.all()] == [False]


def test_an_error_that_we_understand_is_a_failure_in_words(device: Device, scripted: Scripts) -> None:
    error = KeyRefused(
        "The key was refused.\x00", remedy="Paste the line.", detail="Permission \udcff denied"
    )
    scripted["backup"].do = raising(error)
    run = execute(device)
    assert (run.state, run.error_code, run.error_text) == (
        State.FAILED,
        "key-refused",
        "The key was refused.␀",
    )
    assert (run.error_remedy, run.error_detail) == ("Paste the line.", "Permission \\xff denied")
    assert not run.retries.exists()


def test_a_bug_is_errored_and_keeps_its_traceback(device: Device, scripted: Scripts) -> None:
    scripted["backup"].do = raising(KeyError("oops"))
    run = execute(device)
    assert (run.state, run.error_code) == (State.ERRORED, "fault")
    assert "KeyError: 'oops'" in run.error_detail
    assert not run.retries.exists()


@pytest.mark.parametrize("state", [State.RUNNING, State.LOST, State.FAILED])
def test_a_kind_that_ends_in_no_sensible_way_is_a_bug(
    device: Device, scripted: Scripts, state: State
) -> None:
    scripted["backup"].do = lambda *_: kinds.Ended(state)
    assert execute(device).state == State.ERRORED


def test_a_kind_may_end_with_warnings_or_a_failure(device: Device, scripted: Scripts) -> None:
    scripted["backup"].do = lambda *_: kinds.Ended(State.WARNINGS)
    assert execute(device).state == State.WARNINGS
    scripted["backup"].do = lambda *_: kinds.Ended(State.FAILED, KeyRefused("No."))
    assert execute(device).error_code == "key-refused"


def test_a_retryable_failure_is_tried_twice_more(device: Device, scripted: Scripts) -> None:
    scripted["backup"].do = raising(ConnectionLost("Gone."))
    run = execute(device)
    waits = []
    for _ in range(2):
        retry = run.retries.get()
        assert retry.not_before is not None
        assert run.ended_at is not None
        waits.append(retry.not_before - run.ended_at)
        Run.objects.filter(pk=retry.pk).update(not_before=None)
        execute_run(str(retry.pk))
        run = Run.objects.get(pk=retry.pk)
    one = timedelta(minutes=1)
    assert one <= waits[0] < 2.1 * one
    assert 5 * one <= waits[1] < 10.1 * one
    assert (run.attempt, run.state, run.retries.count()) == (3, State.FAILED, 0)


def test_a_worker_that_loses_its_lease_is_lost_and_the_backup_is_tried_again(
    device: Device, scripted: Scripts
) -> None:
    scripted["backup"].do = raising(LeaseLost("The gateway let nothing in."))
    run = execute(device)
    assert (run.state, run.error_code) == (State.LOST, "lease-lost")
    assert run.retries.count() == 1


def test_a_failed_backup_is_told_when_no_retry_follows(device: Device, scripted: Scripts) -> None:
    scripted["backup"].do = raising(ConnectionLost("Gone."))
    execute(device)
    assert not Notice.objects.exists(), "it will be tried again"
    Run.objects.filter(state=State.QUEUED).update(state=State.CANCELLED)
    scripted["backup"].do = raising(KeyRefused("The key was refused.", remedy="Paste the line."))
    run = execute(device)
    notice = Notice.objects.get()
    assert (notice.kind, notice.key) == ("backup-failed", f"run-{run.pk}")
    assert (notice.title, notice.url) == ("db-01: backup failed", run.get_absolute_url())
    assert notice.text == "The key was refused.\nPaste the line."


def test_a_service_that_does_not_run_again_is_told_loudest(device: Device, scripted: Scripts) -> None:
    scripted["backup"].do = raising(ServiceDown("nginx does not run again.", remedy="Look at it now."))
    execute(device)
    notice = Notice.objects.get()
    assert (notice.kind, notice.title) == ("service-down", "db-01: SERVICE DOWN after a cold backup")


def test_a_run_ends_though_its_notice_cannot_be_written(
    device: Device, scripted: Scripts, caplog: pytest.LogCaptureFixture
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE alerts_notice RENAME TO elsewhere")
    scripted["backup"].do = raising(KeyRefused("No."))
    assert execute(device).state == State.FAILED
    assert "A notice could not be written: db-01: backup failed" in caplog.text


def test_what_may_not_be_repeated_is_not(device: Device, scripted: Scripts) -> None:
    scripted["restore"].do = raising(ConnectionLost("Gone."))
    assert not execute(device, "restore").retries.exists()


def test_a_cancelled_run_is_cancelled_whatever_its_flow_raised(device: Device, scripted: Scripts) -> None:
    def do(run: Run, tell: Tell, control: kinds.Control) -> None:
        Run.objects.update(cancel_requested_at=timezone.now())
        control.renew()  # type: ignore[attr-defined]  # what the keeper does every five seconds
        raise ConnectionLost("Its channel was closed.")

    scripted["backup"].do = do
    run = execute(device)
    assert (run.state, run.error_code, run.retries.count()) == (State.CANCELLED, "cancelled", 0)


def test_results_are_written_also_with_a_failure(device: Device, scripted: Scripts) -> None:
    def do(run: Run, tell: Tell, control: kinds.Control) -> None:
        control.in_transaction(lambda: Device.objects.update(facts={"os": "debian"}))
        raise KeyRefused("No.")

    scripted["backup"].do = do
    assert execute(device).state == State.FAILED
    device.refresh_from_db()
    assert device.facts == {"os": "debian"}


def test_results_that_cannot_be_written_are_a_bug(device: Device, scripted: Scripts) -> None:
    def write() -> None:
        Device.objects.update(facts={"os": "debian"})
        raise ValueError("no such column")

    def do(run: Run, tell: Tell, control: kinds.Control) -> None:
        control.in_transaction(write)

    scripted["backup"].do = do
    run = execute(device)
    assert (run.state, "no such column" in run.error_detail) == (State.ERRORED, True)
    device.refresh_from_db()
    assert device.facts == {}


def test_a_run_that_somebody_else_ended_is_not_written_to(device: Device, scripted: Scripts) -> None:
    def do(run: Run, tell: Tell, control: kinds.Control) -> None:
        tell(Said("too late"))
        control.in_transaction(lambda: Device.objects.update(facts={"os": "debian"}))
        Run.objects.update(state=State.LOST, ended_at=timezone.now())

    scripted["backup"].do = do
    run = execute(device)
    assert (run.state, run.lines.count()) == (State.LOST, 0)
    device.refresh_from_db()
    assert device.facts == {}


def test_a_worker_that_has_to_stop_does_not_begin_the_work(
    device: Device, scripted: Scripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopper, "is_asked", True)
    scripted["backup"].do = raising(AssertionError("it began"))
    run = execute(device)
    assert (run.state, run.error_code, run.retries.count()) == (State.LOST, "worker-stopped", 1)


def test_a_kind_that_nobody_registered_is_errored(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    run = request_run("backup", device, request={}, requested_by="ada")
    monkeypatch.setattr(kinds, "_kinds", {})
    execute_run(str(run.pk))
    run.refresh_from_db()
    assert (run.state, "'backup'" in run.error_detail) == (State.ERRORED, True)


def test_a_run_that_is_not_queued_is_left_alone(device: Device) -> None:
    run = execute(device)
    execute_run(str(run.pk))
    assert Run.objects.get().sequence == run.sequence


def test_every_error_of_the_agents_fits_its_columns(device: Device, scripted: Scripts) -> None:
    def all_of(cls: type[AgentError]) -> list[type[AgentError]]:
        return [cls, *(deeper for sub in cls.__subclasses__() for deeper in all_of(sub))]

    longest = max(len(cls.code) for cls in all_of(AgentError))
    assert longest <= (Run._meta.get_field("error_code").max_length or 0)
