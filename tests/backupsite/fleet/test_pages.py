from __future__ import annotations

import pytest
from django.test import Client

from backupsite.fleet.models import Device
from tests.backupsite import hostile
from tests.backupsite.making import make_device

pytestmark = pytest.mark.django_db
GOOD = {"reach": "ssh", "name": "db-01", "address": "10.0.0.5", "port": "22", "user": "root"}


def test_adding_a_device_leads_to_its_connection(operator: Client) -> None:
    assert operator.get("/devices/new/").status_code == 200
    answer = operator.post("/devices/new/", GOOD)
    assert answer["Location"] == "/devices/db-01/connect/"


def test_an_error_keeps_what_was_typed(operator: Client) -> None:
    answer = operator.post("/devices/new/", {**GOOD, "port": "70000", "name": "my db"})
    text = answer.content.decode()
    assert answer.status_code == 422
    assert 'value="70000"' in text and 'value="my db"' in text and 'value="10.0.0.5"' in text
    assert 'aria-invalid="true"' in text
    assert not Device.objects.exists()


@pytest.mark.parametrize("name", hostile.GENERIC + hostile.MARKUP + hostile.SHELL)
def test_a_hostile_name_is_refused_or_inert(operator: Client, name: str) -> None:
    answer = operator.post("/devices/new/", {**GOOD, "name": name})
    assert answer.status_code in (302, 422)
    assert "<script>alert" not in answer.content.decode()
    assert "<img src=x" not in answer.content.decode()


def test_a_stored_name_is_shown_as_text(operator: Client) -> None:
    make_device("x", address="10.0.0.5")
    Device.objects.update(name="a<script>alert(1)</script>\u202e")
    for page in ("/", "/devices/", "/devices/x/", "/devices/x/edit/", "/devices/x/delete/", "/policies/new/"):
        text = operator.get(page).content.decode()
        assert "<script>alert" not in text, page
        # A field holds what is stored; everything else shows it.
        assert "\u202e" not in text or page.endswith("/edit/"), page


def test_renaming_keeps_the_address_of_the_page(operator: Client) -> None:
    make_device("db-01", address="10.0.0.5")
    answer = operator.post("/devices/db-01/edit/", {**GOOD, "name": "database"})
    assert answer["Location"] == "/devices/db-01/"
    assert Device.objects.get().name == "database"


def test_a_machine_that_is_switched_off_at_times_is_said_to_be(operator: Client) -> None:
    make_device("db-01", address="10.0.0.5")
    operator.post("/devices/db-01/edit/", {**GOOD, "sleeps": "on"})
    assert not Device.objects.get().is_always_on
    assert "checked" in operator.get("/devices/db-01/edit/").content.decode().split('name="sleeps"')[1][:80]
    operator.post("/devices/db-01/edit/", GOOD)
    assert Device.objects.get().is_always_on


def test_moving_leads_back_to_the_fingerprint(operator: Client) -> None:
    make_device("db-01", address="10.0.0.5")
    answer = operator.post("/devices/db-01/edit/", {**GOOD, "address": "10.0.0.6"})
    assert answer["Location"] == "/devices/db-01/connect/"


def test_a_stranger_is_sent_to_sign_in(stranger: Client, person: object) -> None:
    make_device()
    for page in ("/devices/new/", "/devices/db-01/edit/"):
        assert stranger.get(page)["Location"].startswith("/login/")
        assert stranger.post(page, GOOD)["Location"].startswith("/login/")


def test_a_device_that_is_not_there(operator: Client) -> None:
    assert operator.get("/devices/nothing/edit/").status_code == 404
    assert operator.delete("/devices/new/").status_code == 405
