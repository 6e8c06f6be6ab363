"""What maintenance may read of a storage, by the day, the hour and the kind."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

import pytest
from django.test import Client
from django.utils import timezone

from backupsite.accounts.models import AuditEvent
from backupsite.fleet.models import Device
from backupsite.repositories.making import ensure_repository
from backupsite.repositories.models import Repository, Storage
from backupsite.repositories.reading import Limits, find_closed, limits_of, note_read, share
from backupsite.repositories.reading_outlook import look_ahead

GB = 10**9
NOVEMBER = datetime(2026, 11, 10, 15, 30, tzinfo=UTC)


def test_a_directory_has_no_limits_and_an_object_store_has_a_budget() -> None:
    assert not limits_of(Storage(name="a", kind=Storage.DIRECTORY), 500 * GB).is_any
    assert limits_of(Storage(name="a", kind=Storage.S3), 500 * GB).budget_bytes == 1010 * GB
    assert not limits_of(Storage(name="a", kind=Storage.S3, reading_budget_bytes=0), 500 * GB).is_any
    own = limits_of(Storage(name="a", kind=Storage.DIRECTORY, reading_budget_bytes=7, maintenance_mb_s=3), 0)
    assert (own.budget_bytes, own.rate_bytes_s) == (7, 3_000_000)


def test_a_budget_is_dealt_out_by_the_day_and_a_person_may_use_the_rest() -> None:
    limits = Limits("vault", 30 * GB)
    assert find_closed(limits, 10 * GB - 1, NOVEMBER) is None
    closed = find_closed(limits, 10 * GB, NOVEMBER)
    assert closed is not None and closed.until == datetime(2026, 11, 11, tzinfo=UTC)
    assert "by today" in closed.why
    far = find_closed(limits, 20 * GB, NOVEMBER)
    assert far is not None and far.until == datetime(2026, 11, 21, tzinfo=UTC)
    assert find_closed(limits, 29 * GB, NOVEMBER, is_asked=True) is None
    over = find_closed(limits, 30 * GB, NOVEMBER, is_asked=True)
    assert over is not None and over.until == datetime(2026, 12, 1, tzinfo=UTC)


@pytest.mark.parametrize("month", range(1, 13))
def test_every_moment_named_is_open_and_the_whole_budget_may_be_used(month: int) -> None:
    now = datetime(2028, month, 1, 3, tzinfo=UTC)
    limits = Limits("vault", 1000, time(22), time(6))
    for used in range(0, 1200, 37):
        for days in (0, 14, 27):
            at = now + timedelta(days=days)
            closed = find_closed(limits, used, at)
            if closed is None:
                continue
            assert closed.until > at
            left = used if closed.until.month == at.month else 0
            assert find_closed(limits, left, closed.until) is None
    last = (now.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
    assert share(1000, last) == 1000


@pytest.mark.parametrize(("hour", "opens"), [(21, 22), (22, None), (3, None), (6, 22), (23, None)])
def test_a_window_over_midnight(hour: int, opens: int | None) -> None:
    at = NOVEMBER.replace(hour=hour, minute=0)
    closed = find_closed(Limits("vault", None, time(22), time(6)), 0, at)
    assert (closed.until.hour if closed else None) == opens


def test_hostile_names_are_made_visible() -> None:
    closed = find_closed(Limits("a\x1b[31m\u202e", 1), 5, NOVEMBER)
    assert closed is not None and "\x1b" not in closed.why and "\u202e" not in closed.why


def test_the_outlook_says_which_limit_makes_the_turn_too_long() -> None:
    assert look_ahead(Limits("vault"), 10**14).is_kept
    assert look_ahead(Limits("vault", 100 * GB), 100 * GB).is_kept
    short = look_ahead(Limits("vault", 100 * GB), 101 * GB)
    assert not short.is_kept and short.turn_days == 31 and "the budget is too little" in short.sentence
    assert "101.0\N{NO-BREAK SPACE}GB a month" in short.cost
    slow = look_ahead(Limits("vault", None, time(22), time(23), 1_000_000), 1000 * GB)
    assert slow.turn_days == 278 and "in these hours at this rate" in slow.sentence
    assert look_ahead(Limits("vault", 1), 0).is_kept


@pytest.mark.django_db
def test_the_page_shows_what_is_used_and_changes_it(
    operator: Client, stranger: Client, storage: Storage, device: Device
) -> None:
    path = f"/repositories/storages/{storage.pk}/reading/"
    assert "nothing is counted" in operator.get(path).content.decode()
    assert path in operator.get("/repositories/").content.decode()
    typed = {"budget": "own", "budget_gb": "30", "begins": "22:00", "ends": "06:00", "rate": "20"}
    assert stranger.post(path, typed).status_code == 302
    storage.refresh_from_db()
    assert storage.reading_budget_bytes is None
    assert operator.post(path, typed).status_code == 302
    storage.refresh_from_db()
    limits = limits_of(storage, 0)
    assert limits == Limits("repositories", 30 * GB, time(22), time(6), 20_000_000)
    assert AuditEvent.objects.get(verb="storage.reading").subject == storage.path
    note_read(storage.pk, 29 * GB, timezone.now())
    repository = ensure_repository(device)
    Repository.objects.filter(pk=repository.pk).update(used_bytes=60 * GB)
    text = operator.get(path).content.decode()
    assert "29.0\N{NO-BREAK SPACE}GB of 30.0\N{NO-BREAK SPACE}GB" in text and "is not kept" in text
    assert 'value="22:00' in text and 'value="30"' in text
    assert "is not kept" in operator.get(f"/repositories/{repository.uuid}/").content.decode()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"budget": "own"}, "Say how many GB."),
        ({"budget": "unlimited", "begins": "22:00"}, "Say both, or leave both empty."),
        ({"budget": "automatic", "begins": "22:00", "ends": "22:00"}, "Nothing would ever be read."),
        ({"budget": "own", "budget_gb": "<b>"}, "whole number"),
        ({"budget": "automatic", "rate": "0"}, "greater than or equal to 1"),
        ({"budget": "bogus"}, "valid choice"),
    ],
)
def test_wrong_input_is_refused_at_its_field(
    operator: Client, storage: Storage, typed: dict[str, str], said: str
) -> None:
    answer = operator.post(f"/repositories/storages/{storage.pk}/reading/", typed)
    assert answer.status_code == 422 and said in answer.content.decode()
    assert "<b>" not in answer.content.decode()
    storage.refresh_from_db()
    assert limits_of(storage, 0) == Limits("repositories")
    assert operator.get("/repositories/storages/99999/reading/").status_code == 404
