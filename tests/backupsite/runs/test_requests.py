"""Asking for a run and cancelling it."""

from __future__ import annotations

import pytest

from backupsite.fleet.models import Device
from backupsite.policies.models import Policy
from backupsite.runs.models import Run
from backupsite.runs.requests import cancel_run, request_run
from backupsite.runs.states import State

pytestmark = [pytest.mark.django_db, pytest.mark.postgresql]


def test_a_double_click_is_one_run(device: Device) -> None:
    first = request_run("backup", device, request={}, requested_by="ada")
    assert request_run("backup", device, request={}, requested_by="bob") == first
    Run.objects.update(state=State.RUNNING)
    assert request_run("backup", device, request={}, requested_by="bob").pk == first.pk
    Run.objects.update(state=State.SUCCEEDED)
    second = request_run("backup", device, request={}, requested_by="bob")
    assert (first.number, second.number) == (1, 2)


def test_another_kind_device_or_policy_is_another_run(device: Device) -> None:
    policy = Policy.objects.create(name="hourly", slug="hourly")
    other = Device.objects.create(name="db-02", slug="db-02")
    made = [
        request_run("backup", device, request={}, requested_by="ada"),
        request_run("backup", device, policy=policy, request={}, requested_by="ada"),
        request_run("probe", device, request={}, requested_by="ada"),
        request_run("backup", other, request={}, requested_by="ada"),
    ]
    assert [run.number for run in made] == [1, 2, 3, 4]


def test_an_unknown_kind_is_refused(device: Device) -> None:
    with pytest.raises(LookupError, match="dance"):
        request_run("dance", device, request={}, requested_by="ada")
    assert not Run.objects.exists()


def test_a_waiting_run_is_cancelled_at_once_and_a_running_one_is_asked(device: Device) -> None:
    run = request_run("backup", device, request={}, requested_by="ada")
    assert cancel_run(run, by="bob")
    run.refresh_from_db()
    assert (run.state, run.cancel_requested_by) == (State.CANCELLED, "bob")
    assert run.ended_at is not None
    assert not cancel_run(run, by="bob")

    run = request_run("backup", device, request={}, requested_by="ada")
    Run.objects.filter(pk=run.pk).update(state=State.RUNNING)
    assert cancel_run(run, by="bob")
    assert cancel_run(run, by="eve")
    run.refresh_from_db()
    assert (run.state, run.cancel_requested_by) == (State.RUNNING, "bob")
