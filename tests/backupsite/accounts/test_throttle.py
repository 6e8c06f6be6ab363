"""Guessing is slowed down; the administrator gets in."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from backupsite.accounts.models import SignInAttempts, User
from backupsite.accounts.throttle import FREE_PER_NAME, LONGEST_WAIT_S, clear_old, limits_of, take_attempt

pytestmark = [pytest.mark.django_db, pytest.mark.postgresql]
GOOD = {"name": "ada", "password": "correct horse battery"}
BAD = {"name": "ada", "password": "guess"}


def guess_until_blocked(client: Client) -> None:
    for _ in range(FREE_PER_NAME):
        assert client.post("/login/", BAD).status_code == 422
    assert client.post("/login/", BAD).status_code == 429


def test_a_guesser_has_to_wait_even_with_the_right_password(person: User, client: Client) -> None:
    guess_until_blocked(client)
    response = client.post("/login/", GOOD)
    assert response.status_code == 429
    assert int(response["Retry-After"]) > 0
    assert "_auth_user_id" not in client.session


def test_the_wait_ends(person: User, client: Client) -> None:
    guess_until_blocked(client)
    SignInAttempts.objects.update(blocked_until=timezone.now())
    assert client.post("/login/", GOOD).status_code == 302


def test_a_known_browser_is_not_kept_out_by_a_flood(person: User, client: Client) -> None:
    known = Client()
    known.post("/login/", GOOD)
    known.post("/logout/")
    guess_until_blocked(client)
    assert known.post("/login/", GOOD).status_code == 302


def test_the_mark_of_a_known_browser_counts_only_for_its_person(person: User, client: Client) -> None:
    User.objects.create_user("eve", "correct horse battery")
    client.post("/login/", {"name": "eve", "password": "correct horse battery"})
    client.post("/logout/")
    guess_until_blocked(client)
    assert client.post("/login/", GOOD).status_code == 429


def test_a_wait_is_never_longer_than_a_quarter_of_an_hour() -> None:
    limits = limits_of("ada", "192.0.2.1")
    for _ in range(60):
        SignInAttempts.objects.update(blocked_until=None)
        assert take_attempt(limits) == 0
    assert take_attempt(limits) <= LONGEST_WAIT_S + 1


def test_an_address_that_tries_many_names_has_to_wait() -> None:
    waits = [take_attempt(limits_of(f"person-{n}", "192.0.2.1")) for n in range(40)]
    assert waits[0] == 0 and waits[-1] > 0
    assert take_attempt(limits_of("person-0", "192.0.2.2")) == 0


def test_a_whole_ipv6_network_is_one_address() -> None:
    assert limits_of("ada", "2001:db8::1") == limits_of("ada", "2001:db8::ffff")
    assert limits_of("ada", "2001:db8::1") != limits_of("ada", "2001:db8:1::1")


def test_a_success_clears_the_count(person: User, client: Client) -> None:
    for _ in range(FREE_PER_NAME - 1):
        client.post("/login/", BAD)
    client.post("/login/", GOOD)
    client.post("/logout/")
    client.cookies.clear()
    assert client.post("/login/", BAD).status_code == 422


def test_old_counts_are_forgotten() -> None:
    take_attempt(limits_of("ada", "192.0.2.1"))
    SignInAttempts.objects.update(last_at=timezone.now() - timedelta(hours=2))
    clear_old()
    assert not SignInAttempts.objects.exists()
