"""What a backup saw of an application is what its comeback knows, when nothing of it is left."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from agents.backup import BackupOutcome
from agents.events import Consistency
from agents.facts import Detail, Instance, to_json
from agents.storing import Point
from backupsite.fleet.models import Device
from backupsite.recovery.backups import keep_points
from backupsite.recovery.comebacks import find_options, make_request
from backupsite.recovery.models import RestorePoint, SeenInstance
from backupsite.runs.models import Run
from backupsite.runs.requests import request_run
from tests.agents.facts.samples import make_facts
from tests.backupsite.instances import make_postgresql
from tests.backupsite.making import make_device, repository_of

pytestmark = pytest.mark.django_db
KEY = "postgresql:15/main"


def back_up(
    device: Device,
    *seen: Instance,
    key: str = KEY,
    parts: tuple[str, ...] = ("base.tar",),
    method: str = "stream",
) -> RestorePoint:
    points = tuple(
        Point(key, part, "", (f"/{part}",), part.ljust(64, "0"), method, Consistency.APPLICATION,
              10, 1, 5, 0, True)
        for part in parts
    )  # fmt: skip
    outcome = BackupOutcome(points, replace(make_facts(), instances=seen))
    run = request_run(Run.BACKUP, device, request={}, requested_by="schedule")
    keep_points(run, repository_of(device), outcome, {key.partition(":")[0]})
    return RestorePoint.objects.latest("made_at")


def check(device: Device, *seen: Instance) -> None:
    """A check of the device, after which it is what is known."""
    device.facts = to_json(replace(make_facts(), instances=seen))
    device.facts_at = timezone.now()
    device.save()


def home_of(point: RestorePoint) -> tuple[str, tuple[str, ...]]:
    point = RestorePoint.objects.select_related("device").get(pk=point.pk)
    home = find_options(point).home
    return home.data, home.services


def test_what_is_gone_is_where_its_backup_saw_it() -> None:
    device = make_device()
    point = back_up(device, make_postgresql("/srv/pg"), parts=("base.tar", "other"))
    assert SeenInstance.objects.count() == 1, "once for all of its streams"
    check(device)
    assert home_of(point) == ("/srv/pg", ("postgresql@15-main.service",))


def test_what_runs_now_says_where_it_is_and_what_stands_does_not() -> None:
    device = make_device()
    point = back_up(device, make_postgresql("/srv/pg"))
    check(device, make_postgresql("/moved/pg"))
    assert home_of(point)[0] == "/moved/pg"
    check(device, make_postgresql("/ruins", is_running=False))
    assert home_of(point)[0] == "/srv/pg"


def test_without_a_look_or_with_one_that_nobody_understands_it_is_known_by_its_name() -> None:
    device = make_device()
    point = back_up(device)
    check(device)
    assert home_of(point)[0] == "/var/lib/postgresql/15/main"
    SeenInstance.objects.create(point=point, facts='{"of": "another version"}')
    assert home_of(point)[0] == "/var/lib/postgresql/15/main"


def test_the_run_that_brings_it_back_knows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backupsite.recovery.comebacks.place_of", lambda repository: None)
    monkeypatch.setattr("backupsite.recovery.comebacks.console_restic", lambda: None)
    device = make_device()
    point = back_up(device, make_postgresql("/srv/pg"))
    check(device)
    wish = {"way": "in-place", "services": [], "keep": False, "folder": "", "port": 0, "part": "",
            "new_name": "", "table": ""}  # fmt: skip
    request = {"points": [str(point.pk)], **wish}
    run = request_run(Run.COMEBACK, device, request=request, requested_by="ada")
    assert make_request(run).known == make_postgresql("/srv/pg")


def test_a_dump_of_all_databases_offers_those_that_its_backup_saw(operator: Client) -> None:
    """One of them may be gone by now: that is why somebody asks."""
    device = make_device()
    now = Instance("mariadb", "/srv/db", "MariaDB /srv/db", "10.11.4", ("/srv/db",), "mariadb.service", True)
    then = replace(now, details=(Detail("databases", "blog\nshop"),))
    point = back_up(device, then, key="mariadb:/srv/db", parts=("all-databases.sql",), method="dump")
    check(device, now)
    text = operator.get(reverse("point-comeback", args=[point.pk])).content.decode()
    assert '<option value="shop">shop</option>' in text
    assert 'name="table"' not in text, "no table of it comes alone"
    answer = {"way": "database", "part": "shop", "new_name": "shop_2", "token": str(uuid.uuid4())}
    assert operator.post(reverse("point-comeback", args=[point.pk]), answer).status_code == 302
    request = Run.objects.get(kind=Run.COMEBACK).request
    assert (request["part"], request["new_name"]) == ("shop", "shop_2")
