"""Who holds a run."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from django.utils import timezone

from agents.errors import Cancelled, LeaseLost
from backupsite.fleet.models import Device
from backupsite.runs.lease import LEASE, Lease, expire, take
from backupsite.runs.models import Run
from backupsite.runs.requests import request_run
from backupsite.runs.states import State

pytestmark = [pytest.mark.django_db, pytest.mark.postgresql]


@pytest.fixture
def run(device: Device) -> Run:
    return request_run("backup", device, request={}, requested_by="ada")


@pytest.fixture
def lease(run: Run) -> Lease:
    taken = take(run.pk)
    assert taken is not None
    return taken


def test_a_queued_run_is_taken_once(run: Run) -> None:
    lease = take(run.pk)
    assert lease is not None
    assert take(run.pk) is None
    run.refresh_from_db()
    assert (run.state, run.lease_token) == (State.RUNNING, lease.token)
    assert run.lease_until is not None
    assert timedelta(seconds=25) < run.lease_until - timezone.now() <= LEASE


def test_a_run_is_not_taken_before_its_time(run: Run) -> None:
    Run.objects.update(not_before=timezone.now() + timedelta(minutes=1))
    assert take(run.pk) is None
    Run.objects.update(not_before=timezone.now())
    assert take(run.pk) is not None


def test_two_runs_never_work_on_one_device(lease: Lease, device: Device) -> None:
    probe = request_run("probe", device, request={}, requested_by="ada")
    assert take(probe.pk) is None
    probe.refresh_from_db()
    assert (probe.state, probe.not_before) == (State.QUEUED, None)


def test_renewing_extends_and_hears_of_a_cancel(lease: Lease) -> None:
    Run.objects.update(lease_until=timezone.now())
    lease.renew()
    assert Run.objects.get().lease_until > timezone.now() + timedelta(seconds=25)  # type: ignore[operator]  # it is set
    lease.raise_if_stopped()
    Run.objects.update(cancel_requested_at=timezone.now())
    lease.renew()
    assert lease.stop_event.is_set()
    assert lease.is_current(), "a cancelled run still has to write how it ended"
    with pytest.raises(Cancelled):
        lease.raise_if_stopped()


@pytest.mark.parametrize("change", [{"state": State.LOST}, {"lease_token": "another"}])
def test_a_lost_lease_stops_everything(lease: Lease, change: dict[str, str]) -> None:
    Run.objects.update(**change)
    lease.renew()
    assert lease.stop_event.is_set()
    assert not lease.is_current()
    with pytest.raises(LeaseLost):
        lease.raise_if_stopped()


def test_a_lease_that_was_not_renewed_is_not_current_any_more(
    lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lease.is_current()
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + LEASE.total_seconds())
    assert not lease.is_current()


def test_a_dead_process_ends_its_own_lease_and_no_other(lease: Lease) -> None:
    before = Run.objects.get()
    expire("elsewhere:1")
    assert Run.objects.get().lease_until == before.lease_until
    expire(before.worker)
    assert Run.objects.get().lease_until <= timezone.now()  # type: ignore[operator]  # it is set
