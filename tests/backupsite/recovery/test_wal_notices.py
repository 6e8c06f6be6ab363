"""Who is told of a log that is behind, has a gap, or whose slot stays on a device."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from agents.wal.words import Gap
from backupsite.alerts.models import Notice
from backupsite.policies.models import PolicyDevice
from backupsite.recovery.wal import notes, wishes
from backupsite.recovery.wal_models import WalGap, WalStream
from tests.backupsite.recovery.logs import make_stream, tell_streamed

pytestmark = pytest.mark.django_db


def test_a_log_that_is_behind_is_told_once_until_it_is_not() -> None:
    now = timezone.now()
    stream = make_stream(wanted_at=now - timedelta(hours=1), heard_at=now - timedelta(seconds=50))
    notes.look(now)
    assert not Notice.objects.exists()
    notes.look(now + timedelta(seconds=20))
    notes.look(now + timedelta(seconds=40))
    notice = Notice.objects.get()
    assert (notice.kind, notice.url) == ("log-behind", "/devices/db-01/#any-moment")
    assert "PostgreSQL 15/main" in notice.title
    notes.note_news(WalStream.objects.filter(pk=stream.pk), tell_streamed(ago_s=300), ())
    assert WalStream.objects.get().told_at is not None, "it catches up, and is still behind"
    notes.note_news(WalStream.objects.filter(pk=stream.pk), tell_streamed(), ())
    assert WalStream.objects.get().told_at is None
    notes.look(timezone.now() + timedelta(minutes=2))
    assert Notice.objects.count() == 2


def test_what_never_began_and_what_nobody_wants() -> None:
    now = timezone.now()
    make_stream(wanted_at=now, problem="max_slot_wal_keep_size is -1.", remedy="Set it.")
    notes.look(now + timedelta(seconds=59))
    assert not Notice.objects.exists()
    notes.look(now + timedelta(seconds=61))
    assert "Set it." in Notice.objects.get().text
    WalStream.objects.update(is_wanted=False, told_at=None)
    notes.look(now + timedelta(hours=1))
    assert Notice.objects.count() == 1


def test_a_slot_that_stays_on_a_device_is_told_once() -> None:
    now = timezone.now()
    make_stream(has_slot=True, told_at=now)
    PolicyDevice.objects.all().delete()
    wishes.look(now)
    notes.look_for_slots(now + timedelta(hours=1))
    assert not Notice.objects.exists(), "nobody has tried yet"
    WalStream.objects.update(problem="Nobody answers.", problem_at=now)
    notes.look_for_slots(now + timedelta(minutes=9))
    assert not Notice.objects.exists()
    for minutes in (11, 12):
        notes.look_for_slots(now + timedelta(minutes=minutes))
    notice = Notice.objects.get()
    assert notice.kind == "log-slot-left" and "Nobody answers." in notice.text
    assert WalStream.objects.get().slot in notice.text


def test_a_gap_is_loud_and_a_beginning_is_not() -> None:
    stream = make_stream(reached_at=datetime(2026, 11, 22, 14, 2, 5, tzinfo=UTC))
    rows = WalStream.objects.filter(pk=stream.pk)
    notes.note_news(rows, None, (Gap("first", 0, 100, "this is the first log of it"),))
    assert not WalGap.objects.exists() and not Notice.objects.exists()
    hostile = "the slot was \x00 lost \udcff" + "x" * 5000
    notes.note_news(rows, None, (Gap("second", 100, 2**64 - 1, hostile),))
    gap, notice = WalGap.objects.get(), Notice.objects.get()
    assert (gap.from_lsn, notice.kind) == (100, "log-gap")
    assert "14:02:05 UTC" in notice.text
    notes.note_news(rows, None, (Gap("third", 100, 200, "again"),))
    assert Notice.objects.count() == 2


def test_numbers_of_a_hostile_device_fit() -> None:
    stream = make_stream()
    rows = WalStream.objects.filter(pk=stream.pk)
    notes.note_news(rows, tell_streamed(2**64 - 1, behind_bytes=2**70), ())
    assert WalStream.objects.get().position == 2**63 - 1
