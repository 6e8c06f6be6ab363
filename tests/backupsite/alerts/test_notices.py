"""Telling and sending, to a real web hook through the real Apprise."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from backupsite.alerts import notices, sending
from backupsite.alerts.models import Delivery, Notice, Target
from backupsite.alerts.notices import send_due, tell, tell_test
from tests.backupsite.alerts.conftest import Hook

pytestmark = [pytest.mark.django_db, pytest.mark.postgresql]


def tell_failure() -> bool:
    return tell("backup-failed", "run-1", "db-01: backup failed", "The disk is full.", "/runs/1/")


def make_due() -> None:
    Delivery.objects.filter(next_at__isnull=False).update(next_at=timezone.now())


def test_a_notice_arrives_with_its_link(target: Target, hook: Hook) -> None:
    assert tell_failure()
    assert send_due() == 1
    assert hook.messages[0]["title"] == "db-01: backup failed"
    assert hook.messages[0]["message"] == "The disk is full.\n\nhttp://127.0.0.1:8700/runs/1/"
    assert Delivery.objects.get().result == "Sent."
    assert Notice.objects.get().sent_at is not None
    assert send_due() == 0 and len(hook.messages) == 1


def test_the_same_cause_is_told_once(target: Target) -> None:
    assert tell_failure() and not tell_failure()
    assert Delivery.objects.count() == 1


def test_a_notice_vanishes_with_the_transaction_that_it_tells_of(target: Target) -> None:
    def fail() -> None:
        with transaction.atomic():
            tell_failure()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not Notice.objects.exists()


def test_a_refused_message_is_tried_again_and_then_arrives(target: Target, hook: Hook) -> None:
    hook.status = 500
    tell_failure()
    assert send_due() == 0
    delivery = Delivery.objects.get()
    assert delivery.attempts == 1 and delivery.result
    assert delivery.next_at is not None and delivery.next_at > timezone.now()
    assert Notice.objects.get().sent_at is None
    hook.status = 200
    assert send_due() == 0
    make_due()
    assert send_due() == 1


def test_it_gives_up_and_says_so(target: Target, hook: Hook) -> None:
    hook.status = 500
    tell_failure()
    for _ in range(10):
        make_due()
        send_due()
    delivery = Delivery.objects.get()
    assert len(hook.messages) == delivery.attempts == 6
    assert delivery.next_at is None and delivery.result.startswith("Given up:")
    assert Notice.objects.get().sent_at is not None


def test_one_target_that_fails_does_not_repeat_the_others(target: Target, hook: Hook) -> None:
    Target.objects.create(name="broken", scheme="json", sealed_url=target.sealed_url)
    tell_failure()
    assert send_due() == 1
    make_due()
    send_due()
    assert len(hook.messages) == 1
    assert "sealed for another row" in Delivery.objects.get(target_name="broken").result


def test_no_secret_reaches_the_result_or_the_log(
    target: Target, hook: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    hook.status = 401
    tell_failure()
    send_due()
    assert "s3cret" not in Delivery.objects.get().result + caplog.text
    assert caplog.text


def test_the_reason_is_kept_when_it_holds_no_secret(target: Target, hook: Hook) -> None:
    hook.status = 503
    tell_failure()
    send_due()
    assert "503" in Delivery.objects.get().result


def test_a_damaged_address_is_a_result_and_stops_nothing(target: Target, hook: Hook) -> None:
    for name, sealed in (("a", b"x"), ("b", b""), ("c", b"x" * 200)):
        Target.objects.create(name=name, scheme="json", sealed_url=sealed)
    tell_failure()
    assert send_due() == 1
    damaged = Delivery.objects.exclude(target=target)
    assert len(damaged) == 3 and all("opens" in row.result for row in damaged)


def test_two_workers_send_it_once(target: Target, hook: Hook) -> None:
    tell_failure()
    seen = Delivery.objects.get()
    assert notices._claim(seen)
    assert not notices._claim(seen)


def test_a_worker_that_died_is_followed_by_another(target: Target, hook: Hook) -> None:
    tell_failure()
    notices._claim(Delivery.objects.get())
    assert send_due() == 0
    Delivery.objects.update(next_at=timezone.now() - timedelta(seconds=1))
    assert send_due() == 1


def test_a_silent_service_does_not_hold_the_worker(
    target: Target, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "DEADLINE_S", 0.2)
    hook.delay_s = 1.0
    tell_failure()
    send_due()
    assert "did not answer" in Delivery.objects.get().result


def test_without_a_target_the_notice_is_kept(db: None) -> None:
    assert tell_failure()
    assert Notice.objects.get().sent_at is not None
    assert send_due() == 0


def test_a_test_goes_to_one_target_and_is_not_repeated(target: Target, hook: Hook) -> None:
    Target.objects.create(name="other", scheme="json", sealed_url=b"x")
    hook.status = 500
    tell_test(target)
    send_due()
    delivery = Delivery.objects.get()
    assert delivery.target == target and delivery.next_at is None


def test_a_target_that_was_deleted_is_given_up(target: Target) -> None:
    tell_failure()
    target.delete()
    send_due()
    assert "was deleted" in Delivery.objects.get().result


def test_what_a_device_says_is_made_visible_and_bounded(target: Target) -> None:
    tell("backup-failed", "k" * 500, "t\u202e" * 300, "x\udcff\0" * 5000)
    notice = Notice.objects.get()
    assert len(notice.title) == 200 and len(notice.text) == 4000
    assert "\u202e" not in notice.title and "\0" not in notice.text
