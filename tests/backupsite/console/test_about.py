"""The page about the console: nothing answers in a test, and it says so."""

from __future__ import annotations

import pytest
from django.test import Client
from django.utils import timezone

from backupsite.runs import tick
from backupsite.runs.models import TickLease

pytestmark = pytest.mark.django_db
PAGE = "/settings/about/"


def test_a_stranger_is_sent_away(stranger: Client) -> None:
    assert stranger.get(PAGE).status_code == 302


def test_without_a_queue_it_says_so(operator: Client) -> None:
    text = operator.get(PAGE).content.decode()
    assert "Runs wait in the database" in text
    assert "No backup starts by itself" in text
    assert ("SQLite" in text or "PostgreSQL" in text) and "restic" in text


def test_a_tick_is_a_sign_of_life(operator: Client) -> None:
    TickLease.objects.create(name=tick.NAME, ticked_at=timezone.now())
    assert "Starts what is due" in operator.get(PAGE).content.decode()


def test_it_is_never_changed_by_a_post(operator: Client) -> None:
    assert operator.post(PAGE).status_code == 405
