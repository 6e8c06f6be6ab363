"""The first page after a recovery."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from backupsite.console.recovered import find_recovery
from backupsite.console.recovering import ACTOR, PAUSED_FOR, end_runs
from backupsite.fleet.devices import Actor
from backupsite.policies.models import Pause
from backupsite.policies.pausing import list_active, pause
from backupsite.runs.models import Run
from backupsite.runs.states import State
from tests.backupsite.making import make_device, make_run

pytestmark = pytest.mark.django_db


@pytest.fixture
def recovery() -> Pause:
    """The fleet's pause as a recovery makes it."""
    now = timezone.now()
    make_device()
    return pause(ACTOR, None, until=now + PAUSED_FOR, reason="recovered", now=now)


def test_the_first_page_asks_until_a_person_confirms(operator: Client, recovery: Pause) -> None:
    assert "This console was recovered" in operator.get("/").content.decode()
    assert operator.post("/recovered/").status_code == 302
    recovery.refresh_from_db()
    assert recovery.ended_by == "ada" and not list_active(timezone.now()).exists()
    assert "This console was recovered" not in operator.get("/").content.decode()


def test_another_pause_of_the_fleet_is_not_ended(operator: Client) -> None:
    now = timezone.now()
    pause(Actor("ada"), None, until=now + timedelta(days=1), reason="a move", now=now)
    assert find_recovery(now) is None
    operator.post("/recovered/")
    assert list_active(now).count() == 1


def test_only_people_who_signed_in_confirm_and_only_by_post(operator: Client, stranger: Client) -> None:
    assert operator.get("/recovered/").status_code == 405
    assert "/login/" in stranger.post("/recovered/")["Location"]


def test_nothing_that_waited_or_worked_goes_on(db: None) -> None:
    device = make_device()
    waiting = make_run(device, State.QUEUED)
    working = make_run(device, State.RUNNING)
    ended = make_run(device, State.SUCCEEDED)
    end_runs(timezone.now())
    states = dict(Run.objects.values_list("pk", "state"))
    assert states == {waiting.pk: "cancelled", working.pk: "lost", ended.pk: "succeeded"}
