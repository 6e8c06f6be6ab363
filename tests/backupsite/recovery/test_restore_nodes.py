"""What lies on one node, restored onto a device of another one: who does what, and what nobody can."""

from __future__ import annotations

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from agents.errors import PlanRefused
from backupsite.fleet.models import Device
from backupsite.fleet.sessions import open_session
from backupsite.recovery.models import RestorePoint
from backupsite.recovery.restores import ask_undo, may_undo
from backupsite.repositories.models import Node, Repository, Storage
from backupsite.runs.models import Run
from backupsite.runs.states import State
from tests.backupsite.making import make_device, make_point
from tests.backupsite.recovery.test_restore_pages import make_answer, page_of
from tests.backupsite.recovery.test_restore_replacing import make_target

pytestmark = pytest.mark.django_db


@pytest.fixture
def point() -> RestorePoint:
    """A restore point whose repository lies on the node cellar."""
    made = make_point(make_device(), None, timezone.now())
    cellar = Node.objects.create(slug="cellar", name="cellar", heard_at=timezone.now())
    storage = Storage.objects.create(node=cellar, name="far", path="/srv/far", marker="far")
    Repository.objects.filter(pk=made.repository_id).update(storage=storage)
    return made


def ask(operator: Client, point: RestorePoint, **fields: object) -> Run:
    answer = operator.post(page_of(point.device), make_answer(point, to="device", **fields))
    assert answer.status_code == 302, answer.content.decode()
    return Run.objects.get(kind=Run.RESTORE)


def test_what_replaces_nothing_is_the_work_of_the_node_where_it_lies(
    operator: Client, point: RestorePoint
) -> None:
    target = make_target()
    run = ask(operator, point, onto="web-01", target="/srv/x")
    assert (run.device, run.beside) == (target, point.device)
    forecast = f"{page_of(point.device)}?part=forecast"
    operator.post(forecast, make_answer(point, to="device", onto="web-01", target="/srv/x"))
    assert Run.objects.get(kind=Run.FORECAST).beside == point.device


def test_what_is_replaced_is_saved_first_by_the_node_of_the_device(
    operator: Client, point: RestorePoint
) -> None:
    make_target()
    replaces = {"conflict": "replace", "typed": "web-01", "safety": "on"}
    run = ask(operator, point, onto="web-01", target="/srv/x", **replaces)
    assert run.beside is None and run.request["safety"]
    saved = make_point(run.device, None, timezone.now(), run=run)
    handed_over = {"beside": point.device, "worker": ""}
    Run.objects.filter(pk=run.pk).update(state=State.CANCELLED, ended_at=timezone.now(), **handed_over)
    run.refresh_from_db()
    assert not may_undo(run), "it was cancelled before the other node took it"
    Run.objects.filter(pk=run.pk).update(worker="cellar@7")
    run.refresh_from_db()
    assert may_undo(run) and saved.repository.device == run.device
    undo = ask_undo(run, token="u", requested_by="ada")
    assert (undo.device, undo.beside) == (run.device, None), "its safety restore point lies with it"


def test_a_restore_onto_the_machine_of_the_console_is_refused_at_the_field(
    operator: Client, point: RestorePoint
) -> None:
    target = make_target("console")
    Device.objects.filter(pk=target.pk).update(reach=Device.LOCAL)
    fields = make_answer(point, to="device", onto="console", target="/srv/x")
    answer = operator.post(page_of(point.device), fields)
    assert answer.status_code == 422 and not Run.objects.filter(kind=Run.RESTORE).exists()
    text = answer.content.decode()
    assert "lies on the node cellar" in text and "as a device over SSH too" in text
    Repository.objects.filter(device=point.device).update(storage=Storage.objects.get(name="main"))
    assert operator.post(page_of(point.device), fields).status_code == 302


def test_a_node_never_takes_its_own_machine_for_the_console(settings: Settings) -> None:
    settings.HOTFLEET_NODE = "cellar"
    with pytest.raises(PlanRefused, match="is the console's own machine, and this is the node cellar"):
        open_session(make_device(reach=Device.LOCAL))
