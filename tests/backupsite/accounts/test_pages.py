"""Signing in and out, and the page of one's own settings."""

from __future__ import annotations

import getpass

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from backupsite.accounts.models import AuditEvent, StoredSession, User

pytestmark = pytest.mark.django_db
GOOD = {"name": "ada", "password": "correct horse battery"}


def test_a_stranger_is_sent_to_the_login_page_and_back(person: User, stranger: Client) -> None:
    response = stranger.get("/settings/me/")
    assert response["Location"] == "/login/?next=/settings/me/"
    response = stranger.post("/login/", {**GOOD, "next": "/settings/me/"})
    assert response["Location"] == "/settings/me/"


def test_without_an_administrator_every_page_leads_to_the_set_up(stranger: Client) -> None:
    for path in ("/login/", "/settings/me/"):
        assert stranger.get(path)["Location"] == "/setup/"


@pytest.mark.parametrize(
    "where", ["https://evil.example/", "//evil.example/", "javascript:alert(1)", "/\\evil.example"]
)
def test_next_never_leaves_the_console(person: User, stranger: Client, where: str) -> None:
    assert stranger.post("/login/", {**GOOD, "next": where})["Location"] == "/"


@pytest.mark.parametrize(
    "typed", [{"name": "ada", "password": "wrong"}, {"name": "nobody", "password": "wrong"}]
)
def test_a_wrong_password_and_an_unknown_name_look_the_same(
    person: User, stranger: Client, typed: dict[str, str]
) -> None:
    response = stranger.post("/login/", typed)
    assert response.status_code == 422
    assert "Name and password do not match" in response.content.decode()
    assert f'value="{typed["name"]}"' in response.content.decode()
    assert "wrong" not in response.content.decode()
    assert AuditEvent.objects.get().verb == "sign-in.failed"


def test_a_person_who_was_switched_off_cannot_sign_in(person: User, stranger: Client) -> None:
    User.objects.create_user("eve", "correct horse battery")
    User.objects.filter(name="eve").update(is_active=False)
    assert stranger.post("/login/", {**GOOD, "name": "eve"}).status_code == 422


def test_signing_out_is_a_post_and_ends_the_session(operator: Client) -> None:
    assert operator.get("/logout/").status_code == 405
    operator.post("/logout/")
    assert not StoredSession.objects.exists()
    assert operator.get("/settings/me/").status_code == 302


def test_the_page_shows_the_open_sessions(person: User, operator: Client) -> None:
    other = Client(HTTP_USER_AGENT="Mozilla/5.0 (X11; Linux) Firefox/140.0")
    other.post("/login/", GOOD)
    text = operator.get("/settings/me/").content.decode()
    assert "this browser" in text
    assert "Firefox on Linux" in text


def test_another_session_can_be_ended(person: User, operator: Client) -> None:
    other = Client()
    other.post("/login/", GOOD)
    key_hash = StoredSession.objects.latest("created_at").key_hash
    operator.post("/settings/me/session-end/", {"session": key_hash})
    assert other.get("/settings/me/").status_code == 302
    assert operator.get("/settings/me/").status_code == 200


def test_nobody_ends_the_session_of_another_person(person: User, operator: Client) -> None:
    User.objects.create_user("eve", "correct horse battery")
    eve = Client()
    eve.post("/login/", {**GOOD, "name": "eve"})
    key_hash = StoredSession.objects.get(user__name="eve").key_hash
    assert operator.post("/settings/me/session-end/", {"session": key_hash}).status_code == 404
    assert eve.get("/settings/me/").status_code == 200


def test_a_new_password_ends_the_other_sessions_only(person: User, operator: Client) -> None:
    other = Client()
    other.post("/login/", GOOD)
    response = operator.post("/settings/me/", {"present": GOOD["password"], "new": "a longer and newer one"})
    assert response.status_code == 302
    assert operator.get("/settings/me/").status_code == 200
    assert other.get("/settings/me/").status_code == 302
    assert User.objects.get().check_password("a longer and newer one")


@pytest.mark.parametrize(
    "typed", [("wrong", "a longer and newer one"), (GOOD["password"], "short"), (GOOD["password"], "")]
)
def test_a_password_change_is_refused(person: User, operator: Client, typed: tuple[str, str]) -> None:
    response = operator.post("/settings/me/", {"present": typed[0], "new": typed[1]})
    assert response.status_code == 422
    assert User.objects.get().check_password(GOOD["password"])


def test_the_time_zone_is_checked_and_used(operator: Client) -> None:
    response = operator.post("/settings/me/", {"time_zone": "../../etc/passwd"})
    assert response.status_code == 422
    operator.post("/settings/me/", {"time_zone": "Asia/Tokyo"})
    assert "JST" in operator.get("/settings/me/").content.decode()


def test_hostile_text_is_escaped(person: User, stranger: Client) -> None:
    hostile = Client(HTTP_USER_AGENT="<script>alert(1)</script>", REMOTE_ADDR="<img src=x>")
    hostile.post("/login/", GOOD)
    text = hostile.get("/settings/me/").content.decode()
    assert "<script>alert" not in text and "<img src=x" not in text


def test_a_password_can_be_reset_from_the_shell(
    person: User, operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(getpass, "getpass", lambda prompt: "a longer and newer one")
    call_command("resetpassword", "ada")
    assert User.objects.get().check_password("a longer and newer one")
    assert operator.get("/settings/me/").status_code == 302
    with pytest.raises(CommandError, match="There is: ada"):
        call_command("resetpassword", "bob")
