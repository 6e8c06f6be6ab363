"""The settings page of notices."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from backupsite.accounts.models import AuditEvent
from backupsite.alerts.models import Delivery, Target
from backupsite.alerts.notices import send_due, tell
from tests.backupsite.alerts.conftest import Hook

pytestmark = pytest.mark.django_db
PAGE = "/settings/notify/"


def test_a_stranger_is_sent_away(stranger: Client, target: Target) -> None:
    for path in (PAGE, f"{PAGE}{target.pk}/test/", f"{PAGE}{target.pk}/delete/"):
        assert stranger.post(path).status_code == 302
    assert Target.objects.count() == 1 and not Delivery.objects.exists()


def test_a_target_is_saved_sealed_and_masked(operator: Client, keys: Path) -> None:
    url = "mailto://user:s3cret-word@example.org"
    assert operator.post(PAGE, {"name": "mail", "url": url}).status_code == 302
    target = Target.objects.get()
    assert b"s3cret" not in bytes(target.sealed_url)
    text = operator.get(PAGE).content.decode()
    assert "ex…org" in text and "example.org?" not in text and "s3cret" not in text
    assert "s3cret" not in str(AuditEvent.objects.latest("id").detail)


def test_a_bad_address_keeps_what_was_typed(operator: Client) -> None:
    response = operator.post(PAGE, {"name": "my <name>", "url": "exec://x"})
    assert response.status_code == 422
    assert "my &lt;name&gt;" in response.content.decode() and "exec://x" in response.content.decode()


def test_a_name_is_used_once(operator: Client, target: Target) -> None:
    assert operator.post(PAGE, {"name": "hook", "url": "ntfys://topic"}).status_code == 422


def test_the_test_button_writes_and_a_worker_sends(operator: Client, target: Target, hook: Hook) -> None:
    assert operator.get(f"{PAGE}{target.pk}/test/").status_code == 405
    operator.post(f"{PAGE}{target.pk}/test/")
    assert hook.messages == []
    part = operator.get(f"{PAGE}?part=notices").content.decode()
    assert "Waiting for a worker" in part and "every 2s" in part and "<form" not in part
    send_due()
    part = operator.get(f"{PAGE}?part=notices").content.decode()
    assert "Sent" in part and "every 2s" not in part
    assert len(hook.messages) == 1


def test_a_target_can_be_deleted(operator: Client, target: Target) -> None:
    assert operator.get(f"{PAGE}{target.pk}/delete/").status_code == 405
    operator.post(f"{PAGE}{target.pk}/delete/")
    assert not Target.objects.exists()


def test_its_number_of_queries_does_not_grow(
    operator: Client, target: Target, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(30):
        tell("backup-failed", f"run-{number}", "db-01: backup failed", "The disk is full.")
    with django_assert_num_queries(5):  # session, person, targets, notices, deliveries
        operator.get(PAGE)


def test_hostile_texts_are_escaped(operator: Client, target: Target) -> None:
    tell("backup-failed", "run", "<script>alert(1)</script>", "x")
    Target.objects.update(name="<script>alert(2)</script>")
    assert "<script>alert" not in operator.get(PAGE).content.decode()
