"""Leases and beats are moments of one clock, whatever the clocks of the machines say."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from backupsite import clock
from backupsite.alerts.models import Notice
from backupsite.console import nodes_heard
from backupsite.repositories import nodes
from backupsite.repositories.models import Node
from backupsite.runs import sweep
from backupsite.runs.lease import LEASE, take
from backupsite.runs.models import Run
from backupsite.runs.requests import request_run
from backupsite.runs.states import State
from tests.backupsite.making import make_device

pytestmark = [pytest.mark.django_db, pytest.mark.postgresql]
LATE, EARLY = timedelta(seconds=-35), timedelta(seconds=35)


def drift(monkeypatch: pytest.MonkeyPatch, by: timedelta) -> None:
    """Have the clock of this machine be wrong from now on; the database's goes on."""
    right = timezone.now

    def wrong() -> datetime:
        return right() + by

    monkeypatch.setattr(timezone, "now", wrong)


@pytest.mark.parametrize("by", [LATE, EARLY])
def test_no_run_is_lost_because_the_console_is_wrong(monkeypatch: pytest.MonkeyPatch, by: timedelta) -> None:
    run = request_run("backup", make_device(), request={}, requested_by="ada")
    lease = take(run.pk)
    assert lease is not None
    drift(monkeypatch, by)
    sweep.look_for_lost(timezone.now())
    run.refresh_from_db()
    assert run.state == State.RUNNING
    lease.renew()
    assert not lease.is_lost


@pytest.mark.parametrize("by", [LATE, EARLY])
def test_a_dead_worker_is_found_whatever_its_clock_said(
    monkeypatch: pytest.MonkeyPatch, by: timedelta
) -> None:
    run = request_run("backup", make_device(), request={}, requested_by="ada")
    with monkeypatch.context() as there:
        drift(there, by)
        assert take(run.pk) is not None
    until = Run.objects.get(pk=run.pk).lease_until
    assert until is not None and abs(until - LEASE - clock.now()) < timedelta(seconds=20)
    assert sweep.end_lost(until + timedelta(seconds=1)) == 1


@pytest.mark.parametrize("by", [timedelta(minutes=-9), timedelta(minutes=9)])
def test_a_node_is_heard_whatever_the_clock_of_its_machine_says(
    monkeypatch: pytest.MonkeyPatch, by: timedelta
) -> None:
    secret, hashed = nodes.make_ticket()
    node = Node.objects.create(slug="cellar", name="cellar", ticket=hashed, joined_at=timezone.now())
    with monkeypatch.context() as there:
        drift(there, by)
        nodes.beat("cellar", secret)
    node.refresh_from_db()
    assert nodes.is_heard(node, timezone.now())
    drift(monkeypatch, by)
    assert nodes.is_heard(node, timezone.now())
    nodes_heard.look(timezone.now())
    assert not Notice.objects.filter(kind="node").exists()


def test_a_clock_that_is_wrong_is_told_once_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes_heard.look_at_clock("cellar")
    assert not Notice.objects.exists()
    drift(monkeypatch, EARLY)
    nodes_heard.look_at_clock("cellar")
    nodes_heard.look_at_clock("cellar")
    notice = Notice.objects.get()
    assert notice.title.startswith("cellar: its clock is wrong by 3")
