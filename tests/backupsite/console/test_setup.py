"""The first-run wizard, from the code on the terminal to the first device."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.test import Client
from pytest_django import Settings

from backupsite import setup_code, vault
from backupsite.accounts.models import AuditEvent, User
from backupsite.repositories.models import RecoveryPassword, Storage

pytestmark = pytest.mark.django_db
GOOD = {"name": "ada", "password": "a sentence to remember", "time_zone": "Europe/Berlin"}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, settings: Settings) -> Path:
    tmp_path.chmod(0o700)
    settings.HOTFLEET_HOME = tmp_path
    vault.create_keys()
    return tmp_path


def test_the_whole_way(client: Client, home: Path) -> None:
    assert client.get("/")["Location"] == "/setup/"
    assert client.get("/setup/")["Location"] == "/setup/admin/"
    code = setup_code.issue()
    assert code in client.get(f"/setup/?code={code}", follow=True).content.decode()
    assert client.post("/setup/admin/", {**GOOD, "code": code})["Location"] == "/setup/"
    user = User.objects.get()
    assert user.is_superuser and user.time_zone == "Europe/Berlin"
    assert not setup_code.check(code)

    assert client.get("/setup/")["Location"] == "/setup/storage/"
    assert str(home / "repositories") in client.get("/setup/storage/").content.decode()
    client.post("/setup/storage/", {"place": str(home / "repositories")})
    assert Storage.objects.get().path == str(home / "repositories")

    assert client.get("/setup/")["Location"] == "/setup/kit/"
    answer = client.post("/setup/kit/download/")
    assert "attachment" in answer["Content-Disposition"] and "no-store" in answer["Cache-Control"]
    found = re.search(r"((?:[A-Z2-7]{5}-){7}[A-Z2-7]{5})", answer.content.decode())
    assert found is not None
    password = found[1]
    assert password not in client.get("/setup/kit/").content.decode()
    client.post("/setup/kit/", {"ending": password[-4:]})
    assert RecoveryPassword.objects.get().kit_confirmed_at is not None
    assert client.get("/setup/")["Location"] == "/devices/new/"
    assert [event.verb for event in AuditEvent.objects.all()] == [
        "signed.in", "administrator.made", "storage.added", "kit.made", "kit.confirmed",
    ]  # fmt: skip
    assert password not in str(list(AuditEvent.objects.values()))


@pytest.mark.parametrize(
    "change",
    [
        {"code": "wrong"},
        {"code": ""},
        {"name": ""},
        {"password": "short"},
        {"password": "password1234"},
        {"time_zone": "Mars/Olympus"},
    ],
)
def test_the_first_step_keeps_what_was_typed(client: Client, change: dict[str, str]) -> None:
    response = client.post("/setup/admin/", {**GOOD, "code": setup_code.issue(), **change})
    assert response.status_code == 422
    assert not User.objects.exists()
    assert f'value="{({**GOOD, **change})["time_zone"]}"' in response.content.decode()
    assert GOOD["password"] not in response.content.decode()


def test_guessing_the_code_is_slowed_down(client: Client) -> None:
    answers = [client.post("/setup/admin/", {**GOOD, "code": f"guess-{n}"}).status_code for n in range(8)]
    assert answers[0] == 422 and answers[-1] == 429


def test_mistakes_with_the_right_code_are_not_slowed_down(client: Client) -> None:
    code = setup_code.issue()
    for _ in range(8):
        assert client.post("/setup/admin/", {**GOOD, "code": code, "password": "x"}).status_code == 422


def test_there_is_one_first_administrator(person: User, client: Client) -> None:
    code = setup_code.issue()
    assert client.post("/setup/admin/", {**GOOD, "name": "eve", "code": code})["Location"] == "/login/"
    assert User.objects.count() == 1


def test_a_stranger_sees_only_the_first_step(person: User, stranger: Client) -> None:
    for path in ("/setup/storage/", "/setup/kit/"):
        assert stranger.get(path)["Location"].startswith("/login/")
    assert stranger.post("/setup/kit/download/").status_code == 302
    assert not RecoveryPassword.objects.exists()


@pytest.mark.parametrize("path", ["/", "relative", "/proc", "/tmp/x", "/srv/../etc", ""])
def test_a_bad_directory_is_refused_at_its_field(operator: Client, path: str) -> None:
    response = operator.post("/setup/storage/", {"place": "other", "path": path})
    assert response.status_code == 422
    assert not Storage.objects.exists()
    assert f'value="{path}"' in response.content.decode() or not path


def test_the_kit_needs_a_storage_and_a_post(operator: Client) -> None:
    assert operator.get("/setup/kit/")["Location"] == "/setup/"
    assert operator.get("/setup/kit/download/").status_code == 405
    operator.post("/setup/kit/download/")
    assert not RecoveryPassword.objects.exists()


def test_a_confirmed_kit_is_never_replaced(operator: Client, home: Path) -> None:
    operator.post("/setup/storage/", {"place": str(home / "repositories")})
    text = operator.post("/setup/kit/download/").content.decode()
    ending = re.findall(r"-([A-Z2-7]{5})\n", text)[0][-4:]
    wrong = "AAAA" if ending != "AAAA" else "BBBB"
    assert operator.post("/setup/kit/", {"ending": wrong}).status_code == 422
    operator.post("/setup/kit/", {"ending": ending})
    before = RecoveryPassword.objects.get().fingerprint
    assert operator.post("/setup/kit/download/").status_code == 302
    assert RecoveryPassword.objects.get().fingerprint == before


def test_a_kit_has_to_be_downloaded_first(operator: Client, home: Path) -> None:
    operator.post("/setup/storage/", {"place": str(home / "repositories")})
    response = operator.post("/setup/kit/", {"ending": "AAAA"})
    assert response.status_code == 422 and "Download the kit first" in response.content.decode()
