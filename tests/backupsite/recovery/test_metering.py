"""Maintenance keeps to what a storage allows, with real repositories; restores are held to nothing."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from agents.events import Said
from backupsite.fleet.models import Device
from backupsite.policies.models import PolicyDevice
from backupsite.recovery import maintenance_due
from backupsite.recovery.drill_samples import LookInto
from backupsite.recovery.drills import ids_of
from backupsite.recovery.maintenance import Check
from backupsite.recovery.places import place_of
from backupsite.repositories import reading
from backupsite.repositories.models import ReadingMonth, Storage
from backupsite.runs.kinds import PutOff
from backupsite.runs.models import Run
from backupsite.runs.states import State
from tests.backupsite.making import make_run
from tests.backupsite.recovery.maintained import Maintained, make_maintained
from tests.backupsite.repositories.conftest import device, home, storage

__all__ = ["device", "home", "storage"]
pytestmark = pytest.mark.django_db


@pytest.fixture
def kept(device: Device, storage: Storage, tmp_path: Path) -> Maintained:
    folder = tmp_path / "source"
    folder.mkdir()
    return make_maintained(device, folder)


def limit(kept: Maintained, **fields: object) -> Storage:
    Storage.objects.filter(pk=kept.repository.storage_id).update(**fields)
    kept.repository.refresh_from_db()
    return Storage.objects.get(pk=kept.repository.storage_id)


def used(storage: Storage) -> int:
    return reading.count_used(storage, timezone.now())


def test_without_limits_nothing_is_counted_and_with_a_budget_all_is(kept: Maintained) -> None:
    assert kept.work(Check(), kept.run(Run.CHECK)).state is State.SUCCEEDED
    assert not ReadingMonth.objects.exists()
    storage = limit(kept, reading_budget_bytes=10**12)
    assert kept.work(Check(), kept.run(Run.CHECK, everything=True)).state is State.SUCCEEDED
    assert used(storage) > 400_000, "all its data, and what restic read of the index"


def test_a_used_budget_puts_a_check_off_with_its_reason_before_it_read_anything(kept: Maintained) -> None:
    storage = limit(kept, reading_budget_bytes=1000)
    reading.note_read(storage.pk, 1000, timezone.now())
    with pytest.raises(PutOff) as put_off:
        kept.work(Check(), kept.run(Run.CHECK))
    assert "1.0\N{NO-BREAK SPACE}kB a month" in put_off.value.text
    assert put_off.value.until.day == 1 and put_off.value.until > timezone.now()
    assert used(storage) == 1000
    assert place_of(kept.repository).meter is None, "who restores is never held, nor counted"


def test_a_check_ends_when_the_budget_is_used_and_says_so(kept: Maintained) -> None:
    storage = limit(kept, reading_budget_bytes=150_000)
    assert kept.work(Check(), kept.run(Run.CHECK)).state is State.SUCCEEDED
    said = [each.text for each in kept.told if isinstance(each, Said)]
    assert any("Nothing more is read now: of 150.0" in each for each in said)
    assert kept.repository.reading["unread_bytes"] > 0, "not all of it was read"
    assert kept.repository.read_at is None, "a part is not the whole turn"
    # One file is the most that is read beyond it.
    assert 150_000 <= used(storage) < 150_000 + kept.largest_pack().stat().st_size
    assert reading.list_closed(timezone.now()) == [storage.pk]


@pytest.mark.full
def test_a_repair_waits_for_no_budget(kept: Maintained) -> None:
    storage = limit(kept, reading_budget_bytes=1)
    reading.note_read(storage.pk, 10, timezone.now())
    assert kept.work(Check(), kept.run(Run.CHECK, repair=True)).state is State.SUCCEEDED
    assert used(storage) > 400_000, "it is counted"


def test_a_look_into_a_restore_point_is_counted_and_put_off(kept: Maintained) -> None:
    storage = limit(kept, reading_budget_bytes=10**12)
    point = kept.points["b"]
    run = make_run(kept.device, State.RUNNING, Run.SAMPLE, request={"points": ids_of(point)})
    kept.work(LookInto(), run)
    assert used(storage) > 0
    limit(kept, reading_budget_bytes=1)
    with pytest.raises(PutOff):
        kept.work(LookInto(), run)


def test_outside_the_window_nothing_is_asked_by_schedule(kept: Maintained) -> None:
    now = timezone.now().replace(microsecond=0, second=0)
    opens = now + timedelta(hours=2)
    limit(kept, reading_from=opens.time(), reading_until=(opens + timedelta(hours=1)).time())
    assert maintenance_due.start_checks(now) == 0
    run = kept.run(Run.CHECK)
    with pytest.raises(PutOff) as put_off:
        kept.work(Check(), run)
    assert put_off.value.until == opens
    assert f"from {opens:%H:%M} to" in put_off.value.text
    run.delete()
    PolicyDevice.objects.update(next_due=None)
    assert maintenance_due.start_checks(opens) == 1
