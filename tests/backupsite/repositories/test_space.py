"""How full storages are and when they will be full, in honest words."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from django.test import Client
from django.utils import timezone

from backupsite.alerts.models import Notice
from backupsite.console import space_chore
from backupsite.fleet.models import Device
from backupsite.repositories import space
from backupsite.repositories.making import ensure_repository
from backupsite.repositories.models import Repository, SpaceSample, Storage
from backupsite.repositories.space import Outlook, Used, describe, find_alarm, look_ahead
from backupsite.runs import chores

TODAY = date(2026, 11, 22)
GB = 1_000_000_000


def grow(days: int, per_day: int = GB, start: int = 100 * GB) -> list[Used]:
    """A storage that takes `per_day` more each day until today."""
    return [Used(TODAY - timedelta(days=days - day), start + day * per_day) for day in range(days + 1)]


def test_it_is_full_where_the_line_meets_the_end() -> None:
    outlook = look_ahead(grow(30), 60 * GB)
    assert outlook.bytes_per_day == pytest.approx(GB) and outlook.full_on == TODAY + timedelta(days=60)
    assert describe(outlook) == "It grows by 1.0\xa0GB a day; at this pace it is full on 2027-01-21."


def test_one_outlier_does_not_move_the_date_by_much() -> None:
    samples = grow(30)
    samples[15] = Used(samples[15].day, samples[15].used_bytes + 20 * GB)
    assert look_ahead(samples, 60 * GB).bytes_per_day == pytest.approx(GB, rel=0.1)


def test_a_short_history_says_so_and_alarms_nobody() -> None:
    assert describe(look_ahead(grow(0), GB)) == "How fast it grows is known after two days of measurements."
    outlook = look_ahead(grow(3), 5 * GB)
    assert describe(outlook).startswith("Measured for 3 days only: it grows by")
    assert find_alarm(1000 * GB, 500 * GB, outlook, TODAY) == ""


def test_what_does_not_grow_is_never_full() -> None:
    for per_day in (0, -GB):
        outlook = look_ahead(grow(20, per_day), GB)
        assert outlook.full_on is None and "does not grow" in describe(outlook)
    far = look_ahead(grow(20, 1000), 900 * GB)
    assert far.full_on is None and "not full within ten years" in describe(far)


def test_people_are_told_at_ninety_percent_and_two_weeks_before() -> None:
    calm = Outlook(0.0, 30, None)
    assert find_alarm(100 * GB, 11 * GB, calm, TODAY) == ""
    assert "90% of it is used" in find_alarm(100 * GB, 10 * GB, calm, TODAY)
    assert find_alarm(1000 * GB, 500 * GB, Outlook(GB, 30, TODAY + timedelta(days=15)), TODAY) == ""
    assert "full on 2026-12-06" in find_alarm(
        1000 * GB, 500 * GB, Outlook(GB, 30, TODAY + timedelta(days=14)), TODAY
    )
    assert find_alarm(None, None, calm, TODAY) == ""


@pytest.mark.django_db
def test_a_worker_takes_the_samples_of_a_day_once(storage: Storage, device: Device) -> None:
    ensure_repository(device)
    Repository.objects.update(used_bytes=7 * GB, measured_at=timezone.now())
    space_chore.measure()
    space_chore.measure()
    today = timezone.now().date()
    assert SpaceSample.objects.count() == 2
    assert SpaceSample.objects.get(repository__device=device).used_bytes == 7 * GB
    sample = SpaceSample.objects.get(repository=None)
    storage.refresh_from_db()
    assert sample.day == today and sample.free_bytes == storage.free_bytes
    assert space.is_sampled(today) and not space.is_sampled(today + timedelta(days=1))


@pytest.mark.django_db
def test_the_tick_asks_on_each_new_day(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(chores, "ask", asked.append)
    at = datetime(2026, 11, 22, 5, 30, tzinfo=UTC)
    space_chore.look(at)
    assert asked == [space_chore.CHORE]
    SpaceSample.objects.create(storage=storage, day=at.date(), used_bytes=1)
    space_chore.look(at)
    assert len(asked) == 1


@pytest.mark.django_db
def test_a_storage_that_is_gone_is_left_out_and_the_others_are_measured(storage: Storage) -> None:
    gone = Storage.objects.create(node=storage.node, name="gone", path="/nonexistent", marker="x")
    problems = space.take_samples(TODAY)
    assert len(problems) == 1 and "gone" in str(problems[0])
    assert list(SpaceSample.objects.values_list("storage", flat=True)) == [storage.pk]
    assert not SpaceSample.objects.filter(storage=gone).exists()


@pytest.mark.django_db
def test_a_full_storage_is_told_once_a_week(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(space, "ALARM_SHARE", 0.0)
    space_chore.measure()
    SpaceSample.objects.all().delete()
    space_chore.measure()
    (notice,) = Notice.objects.filter(kind="space")
    assert "fills up" in notice.title and storage.path in notice.text


@pytest.mark.django_db
def test_the_page_shows_the_picture_and_the_largest_devices(
    operator: Client, storage: Storage, device: Device
) -> None:
    repository = ensure_repository(device)
    Repository.objects.update(used_bytes=7 * GB, measured_at=timezone.now())
    today = timezone.now().date()
    for day in range(10):
        at = today - timedelta(days=9 - day)
        SpaceSample.objects.create(storage=storage, day=at, used_bytes=(100 + day) * GB)
        SpaceSample.objects.create(storage=storage, repository=repository, day=at, used_bytes=(5 + day) * GB)
    text = operator.get("/repositories/").content.decode()
    assert "It grows by 1.0\xa0GB a day" in text and f'id="space-{storage.pk}"' in text
    assert "Which devices take most" in text and "100 %" in text
