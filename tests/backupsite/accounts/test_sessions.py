"""The session engine: what the table holds, and that an ended session stays ended."""

from __future__ import annotations

import hashlib
from datetime import timedelta

import pytest
from django.contrib.sessions.backends.base import UpdateError
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from backupsite.accounts.models import StoredSession, User
from backupsite.accounts.sessions import SessionStore

pytestmark = [pytest.mark.django_db, pytest.mark.postgresql]


def test_the_table_holds_only_the_hash_of_the_cookie(operator: Client) -> None:
    cookie = operator.cookies["hotfleet"].value
    row = StoredSession.objects.get()
    assert row.key_hash == hashlib.sha256(cookie.encode()).hexdigest()
    assert cookie not in row.data
    assert row.user is not None and row.user.name == "ada"


def test_the_hash_of_a_stolen_table_signs_nobody_in(operator: Client) -> None:
    thief = Client()
    thief.cookies["hotfleet"] = StoredSession.objects.get().key_hash
    assert thief.get("/settings/me/").status_code == 302


def test_it_keeps_data() -> None:
    store = SessionStore()
    store["place"] = "here"
    store.save()
    assert SessionStore(store.session_key)["place"] == "here"


def test_it_never_adopts_a_key_that_somebody_else_chose() -> None:
    store = SessionStore("chosen-by-a-stranger")
    store["place"] = "here"
    store.save()
    assert store.session_key != "chosen-by-a-stranger"


def test_signing_in_changes_the_key(person: User, client: Client) -> None:
    store = SessionStore()
    store["planted"] = True
    store.save()
    client.cookies["hotfleet"] = str(store.session_key)
    client.post("/login/", {"name": "ada", "password": "correct horse battery"})
    assert client.cookies["hotfleet"].value != store.session_key
    assert not SessionStore().exists(str(store.session_key))


def test_an_expired_session_is_no_session(operator: Client) -> None:
    StoredSession.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert operator.get("/settings/me/").status_code == 302


def test_an_ended_session_does_not_come_back() -> None:
    store = SessionStore()
    store["place"] = "here"
    store.save()
    StoredSession.objects.all().delete()
    store["place"] = "there"
    with pytest.raises(UpdateError):
        store.save()


def test_a_tampered_row_is_an_empty_session(operator: Client) -> None:
    row = StoredSession.objects.get()
    row.data = row.data[:-4] + "AAAA"
    row.save()
    assert operator.get("/settings/me/").status_code == 302


def test_clearsessions_removes_only_the_expired() -> None:
    for name in ("old", "new"):
        store = SessionStore()
        store["name"] = name
        store.save()
    old = StoredSession.objects.order_by("created_at").first()
    assert old is not None
    StoredSession.objects.filter(pk=old.pk).update(expires_at=timezone.now() - timedelta(days=1))
    call_command("clearsessions")
    assert StoredSession.objects.count() == 1
    assert not StoredSession.objects.filter(pk=old.pk).exists()


def test_a_page_that_changes_nothing_writes_no_session(operator: Client) -> None:
    before = StoredSession.objects.values_list("data", "expires_at").get()
    operator.get("/settings/me/")
    assert StoredSession.objects.values_list("data", "expires_at").get() == before
