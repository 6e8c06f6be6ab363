"""Applications come back: what the page offers, what it refuses, and what its run asks of the device."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from agents.comeback import Way
from agents.facts.device import to_json
from backupsite.accounts.models import AuditEvent
from backupsite.recovery.comebacks import find_options, make_stored
from backupsite.recovery.folders import encode_path
from backupsite.recovery.models import RestorePoint
from backupsite.runs.models import Run
from backupsite.runs.requests import request_run
from backupsite.runs.states import State
from tests.agents.facts.samples import make_facts, make_mount
from tests.backupsite.instances import make_postgresql
from tests.backupsite.making import make_device, make_point

DATA = "/data/pg"


def make_stream(method: str = "stream", parts: tuple[str, ...] = ("base.tar",)) -> RestorePoint:
    """The newest backup of a PostgreSQL that the device had at its last check."""
    instance = make_postgresql(DATA)
    facts = make_facts(make_mount("/data", "xfs", "8:17"), paths=("/data",))
    device = make_device(facts=to_json(replace(facts, instances=(instance,))), facts_at=timezone.now())
    run = request_run(Run.BACKUP, device, request={}, requested_by="schedule")
    now = timezone.now()
    points = [
        make_point(device, None, now, f"postgresql:{instance.name}", part=part, run=run, method=method,
                   paths=[encode_path(f"/{part}")])
        for part in parts
    ]  # fmt: skip
    return points[0]


def make_answer(**fields: object) -> dict[str, object]:
    return {"way": "in-place", "services": "", "keep": "on", "folder": "", "port": "", "part": "",
            "new_name": "", "table": "", "typed": "db-01", "token": str(uuid.uuid4()), **fields}  # fmt: skip


def page_of(point: RestorePoint) -> str:
    return reverse("point-comeback", args=[point.pk])


def test_the_page_says_what_happens(operator: Client, stranger: Client) -> None:
    point = make_stream()
    text = operator.get(page_of(point)).content.decode()
    assert "In place" in text
    assert DATA in text
    assert "the old data is put back" in text
    assert not Run.objects.filter(kind=Run.COMEBACK).exists()
    assert stranger.get(page_of(point)).status_code == 302
    wizard = operator.get(reverse("device-restore", args=["db-01"]), {"point": str(point.pk)})
    assert page_of(point) in wizard.content.decode()


def test_it_is_found_beside_the_files_of_its_device(operator: Client) -> None:
    point = make_stream(parts=("base.tar", "pg_wal.tar"))
    make_point(point.device, None, timezone.now(), "/etc")
    make_point(point.device, None, timezone.now(), "command:x", part="out")
    text = operator.get(reverse("device-restore", args=["db-01"])).content.decode()
    assert text.count("Restore </span>PostgreSQL 15/main…") == 1, "once, however many streams it has"
    assert page_of(point) in text
    assert "Restore </span>command" not in text


def test_in_place_wants_the_name_of_the_device(operator: Client) -> None:
    point = make_stream()
    for typed in ("", "db-1", "DB-01"):
        answer = operator.post(page_of(point), make_answer(typed=typed, services="postgresql.service"))
        assert answer.status_code == 422
        assert 'id="id_typed_error"' in answer.content.decode()
        assert 'value="postgresql.service"' in answer.content.decode()
    assert not Run.objects.filter(kind=Run.COMEBACK).exists()


def test_a_form_is_one_comeback(operator: Client) -> None:
    point = make_stream(parts=("base.tar", "pg_wal.tar"))
    answer = make_answer(services="postgresql.service other.service")
    first = operator.post(page_of(point), answer)
    Run.objects.filter(kind=Run.COMEBACK).update(state=State.SUCCEEDED)
    assert operator.post(page_of(point), answer)["Location"] == first["Location"]
    run = Run.objects.get(kind=Run.COMEBACK)
    ids = {str(pk) for pk in RestorePoint.objects.values_list("pk", flat=True)}
    assert set(run.request["points"]) == ids
    assert run.request["services"] == ["postgresql.service", "other.service"]
    assert (run.request["way"], run.request["keep"]) == ("in-place", True)
    assert AuditEvent.objects.filter(verb="device.comeback", detail__run=run.number).count() == 1
    other = operator.post(page_of(point), {**answer, "keep": ""})
    assert other.status_code == 422
    assert f"sent already, and run #{run.number}" in other.content.decode()
    assert Run.objects.filter(kind=Run.COMEBACK).count() == AuditEvent.objects.count() == 1
    assert "PostgreSQL" in operator.get(run.get_absolute_url()).content.decode()
    assert "PostgreSQL" in operator.get(reverse("restores")).content.decode()


@pytest.mark.parametrize("service", ["-rf", "a*", "x/y", "postgresql@15-main.service [x]"])
def test_what_is_no_service_is_said_at_its_field(operator: Client, service: str) -> None:
    answer = operator.post(page_of(make_stream()), make_answer(services=service))
    assert answer.status_code == 422
    assert 'id="id_services_error"' in answer.content.decode()
    assert not Run.objects.filter(kind=Run.COMEBACK).exists()


def test_whose_service_nobody_knows_is_asked_for_its_name(operator: Client) -> None:
    now = timezone.now()
    device = make_device(facts=to_json(make_facts()), facts_at=now)
    paths = [encode_path("/srv/redis")]
    redis = make_point(device, None, now, "redis:/run/redis/s", method="snapshot+btrfs", paths=paths)
    text = operator.get(page_of(redis)).content.decode()
    assert "nobody knows which service stops and starts" in text
    assert 'name="services"' in text and "Replace redis" in text
    answer = operator.post(page_of(redis), make_answer())
    assert answer.status_code == 422
    assert 'id="id_services_error"' in answer.content.decode()
    assert operator.post(page_of(redis), make_answer(services="redis-6380")).status_code == 302
    assert Run.objects.get(kind=Run.COMEBACK).request["services"] == ["redis-6380"]


@pytest.mark.parametrize("way", ["database", "moon", ""])
def test_a_way_that_is_not_possible_is_refused(operator: Client, way: str) -> None:
    assert operator.post(page_of(make_stream()), make_answer(way=way)).status_code == 422
    assert not Run.objects.filter(kind=Run.COMEBACK).exists()


def test_a_database_of_a_dump_comes_under_a_new_name(operator: Client) -> None:
    point = make_stream("dump", ("shop.dump", "globals.sql"))
    options = find_options(point)
    assert options.choice(Way.DATABASE) is not None
    assert options.choice(Way.IN_PLACE) is None
    answer = make_answer(way="database", part="shop.dump", new_name="", typed="")
    assert operator.post(page_of(point), answer).status_code == 422
    assert operator.post(page_of(point), {**answer, "new_name": "shop_2"}).status_code == 302
    run = Run.objects.get(kind=Run.COMEBACK)
    assert (run.request["part"], run.request["new_name"]) == ("shop.dump", "shop_2")


@pytest.mark.parametrize("folder", ["", "relative", "/", "/x", "/proc/x", "/var/../etc"])
def test_beside_wants_a_folder_and_a_port(operator: Client, folder: str) -> None:
    answer = make_answer(way="beside", folder=folder, port="5555", typed="")
    assert operator.post(page_of(make_stream()), answer).status_code == 422
    assert not Run.objects.filter(kind=Run.COMEBACK).exists()


def test_files_are_no_application(operator: Client) -> None:
    assert operator.get(page_of(make_point(make_device(), None, timezone.now()))).status_code == 404


def test_who_does_not_come_back_says_why(operator: Client) -> None:
    point = make_point(make_device(), None, timezone.now(), "command:x", part="out")
    text = operator.get(page_of(point)).content.decode()
    assert "It does not come back by itself" in text
    assert operator.post(page_of(point), make_answer()).status_code == 200
    assert not Run.objects.exists()


def test_files_of_an_application_know_their_places(db: None) -> None:
    device = make_device()
    point = make_point(device, None, timezone.now(), "postgresql:15/main", paths=[encode_path(DATA)])
    assert make_stored([point]).paths == (DATA,)


def test_restores_are_listed(operator: Client, stranger: Client) -> None:
    assert "Nothing was restored yet" in operator.get(reverse("restores")).content.decode()
    point = make_point(make_device(), None, timezone.now())
    operator.post(
        reverse("device-restore", args=["db-01"]),
        {"point": str(point.pk), "to": "folder", "target": "/var/restore/<b>", "conflict": "skip",
         "token": str(uuid.uuid4())},
    )  # fmt: skip
    text = operator.get(reverse("restores")).content.decode()
    assert "/var/restore/&lt;b&gt;" in text
    assert stranger.get(reverse("restores")).status_code == 302


@pytest.mark.parametrize("state", list(State))
def test_a_comeback_has_a_page_in_every_state(operator: Client, state: State) -> None:
    point = make_stream()
    operator.post(page_of(point), make_answer())
    now = timezone.now()
    ended_at = now if state.is_final else None
    Run.objects.filter(kind=Run.COMEBACK).update(state=state, started_at=now, ended_at=ended_at)
    text = operator.get(Run.objects.get(kind=Run.COMEBACK).get_absolute_url()).content.decode()
    assert state.label in text
    assert "PostgreSQL 15/main" in text
