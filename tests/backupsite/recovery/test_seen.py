"""What a backup saw of an application is what its comeback knows, when nothing of it is left."""

from __future__ import annotations

from dataclasses import replace

import pytest
from django.utils import timezone

from agents.backup import BackupOutcome
from agents.events import Consistency
from agents.facts import Instance, to_json
from agents.storing import Point
from backupsite.fleet.models import Device
from backupsite.recovery.backups import keep_points
from backupsite.recovery.comebacks import find_options, make_request
from backupsite.recovery.models import RestorePoint, SeenInstance
from backupsite.runs.models import Run
from tests.agents.facts.samples import make_facts
from tests.backupsite.instances import make_postgresql
from tests.backupsite.making import make_device, make_run, repository_of

pytestmark = pytest.mark.django_db
KEY = "postgresql:15/main"


def back_up(device: Device, *seen: Instance, parts: tuple[str, ...] = ("base.tar",)) -> RestorePoint:
    points = tuple(
        Point(KEY, part, "", (f"/{part}",), part.ljust(64, "0"), "stream", Consistency.APPLICATION,
              10, 1, 5, 0, True)
        for part in parts
    )  # fmt: skip
    outcome = BackupOutcome(points, replace(make_facts(), instances=seen))
    keep_points(make_run(device), repository_of(device), outcome, {"postgresql"})
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
    run = make_run(device, kind=Run.COMEBACK, request={"points": [str(point.pk)], **wish})
    assert make_request(run).known == make_postgresql("/srv/pg")
