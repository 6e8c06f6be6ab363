"""The demo: every state is in it, its pages open, nothing changes, and it never lives in a console's home."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from backupsite.accounts.models import User
from backupsite.demo import marking
from backupsite.demo.machines import ROLES, list_machines
from backupsite.demo.seeding import seed
from backupsite.environment import is_demo
from backupsite.fleet.models import Device
from backupsite.policies.models import Policy
from backupsite.recovery.exposure import Standing
from backupsite.recovery.stored import count_standings
from backupsite.runs.models import Run
from backupsite.runs.states import State

PAGES = (
    "/", "/devices/", "/devices/?state=outside", "/devices/postgresql-fra1-01/", "/runs/", "/points/",
    "/restores/", "/drills/", "/policies/", "/policies/postgresql/", "/repositories/", "/tags/",
    "/settings/me/", "/devices/postgresql-fra1-01/points/", "/devices/postgresql-fra1-01/restore/",
)  # fmt: skip
MIDDLEWARE = "backupsite.demo.middleware.DemoMiddleware"


@pytest.fixture
def visitor(db: None, tmp_path: Path, settings: Settings) -> Client:
    """Somebody who signed in to a demo of 128 devices."""
    seed(timezone.now(), 128, tmp_path, days=6)
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, MIDDLEWARE]
    settings.HOTFLEET_IS_DEMO = True
    client = Client()
    client.force_login(User.objects.create_user("demo", "a password", is_superuser=True))
    return client


def test_it_shows_every_state_opens_and_changes_nothing(visitor: Client) -> None:
    counts = count_standings(Device.objects.all(), timezone.now())
    assert set(Standing) - {standing for standing, count in counts.items() if count} == set()
    assert counts.total() == 128 and counts[Standing.WITHIN] > 90
    states = set(Run.objects.values_list("state", flat=True))
    assert states >= {State.RUNNING, State.QUEUED, State.FAILED, State.WARNINGS, State.SUCCEEDED}
    for address in PAGES:
        answer = visitor.get(address)
        assert answer.status_code == 200, address
        assert b"This is a demo." in answer.content, address
    for run in (*Run.objects.filter(phases__isnull=False)[:2], *Run.objects.filter(state=State.RUNNING)):
        assert visitor.get(run.get_absolute_url()).status_code == 200
    runs, policies = Run.objects.count(), Policy.objects.count()
    for address in (
        "/devices/postgresql-fra1-01/backup/",
        "/policies/postgresql/delete/",
        "/policies/new/",
        "/pause/",
    ):
        answer = visitor.post(address, {"name": "x"}, HTTP_REFERER="http://testserver/policies/")
        assert (answer.status_code, answer["Location"]) == (302, "http://testserver/policies/")
    assert visitor.post("/pause/", HTTP_REFERER="https://elsewhere.example/")["Location"] == "/"
    assert (runs, policies) == (Run.objects.count(), Policy.objects.count())
    assert b"change nothing" in visitor.get("/").content


def test_a_fleet_of_any_size_has_unique_names_and_all_roles() -> None:
    machines = list(list_machines(10_000))
    assert len({machine.name for machine in machines}) == 10_000
    assert {machine.role.tag for machine in machines[:128]} == {role.tag for role in ROLES}
    assert sum(role.share for role in ROLES) == 100


def test_it_is_never_mixed_with_a_console(tmp_path: Path) -> None:
    (tmp_path / "console-id").write_text("0")
    with pytest.raises(marking.NotADemoError, match="DATABASE_URL"):
        marking.claim(tmp_path, "postgresql://somewhere")
    (tmp_path / "hotfleet.sqlite3").write_text("a real one")
    with pytest.raises(marking.NotADemoError, match="holds a console"):
        marking.claim(tmp_path, "")
    assert not is_demo(tmp_path)
    (tmp_path / "hotfleet.sqlite3").unlink()
    marking.claim(tmp_path, "")
    (tmp_path / "hotfleet.sqlite3").write_text("the demo's own")
    marking.claim(tmp_path, "")
    assert is_demo(tmp_path)
