"""Logs that policies want: who follows them, what is written down of it, and who is told."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, DataError
from django.db.models import QuerySet
from django.utils import timezone

from agents.errors import AgentError, ConnectFailed, LeaseLost, PlanRefused
from agents.wal.words import Gap, Streamed
from backupsite.accounts.models import AuditEvent
from backupsite.alerts.models import Notice
from backupsite.fleet.models import Device
from backupsite.policies.models import Policy, PolicyDevice, Source
from backupsite.recovery.wal import notes, wishes
from backupsite.recovery.wal.follower import Follower
from backupsite.recovery.wal.keeper import Keeper
from backupsite.recovery.wal.lease import LEASE, Holding
from backupsite.recovery.wal_models import WalGap, WalStream
from tests.backupsite.making import make_device
from tests.backupsite.recovery.logs import make_stream, tell_streamed, want

pytestmark = pytest.mark.django_db


class Scripted(Follower):
    """A follower whose work a test does: it goes on until it is stopped, or ends as it is told to."""

    def __init__(self, row: WalStream, holding: Holding) -> None:
        super().__init__(row, holding)
        self.ended = threading.Event()
        self.tell = self._tell
        made.append(self)

    def _work(self) -> None:
        while not self.ended.wait(0.01) and not self._stopped.is_set():
            pass

    def end(self, error: AgentError | None = None) -> None:
        self.error = error
        self.ended.set()
        self.join(60)


made: list[Scripted] = []


@pytest.fixture(autouse=True)
def end_all() -> object:
    made.clear()
    yield
    for follower in made:
        follower.end()


def beat(keeper: Keeper) -> None:
    """One round, with everything that is due every few seconds."""
    keeper._renew_at = float("-inf")
    keeper.beat()


# Wishes.


def test_a_policy_makes_streams_and_ends_them() -> None:
    device, other = make_device(), make_device("db-02")
    policy = want(device, other)
    wishes.look(timezone.now())
    wishes.look(timezone.now())
    assert [(each.device, each.source) for each in WalStream.objects.all()] == [
        (device, "postgresql:15/main"), (other, "postgresql:15/main"),
    ]  # fmt: skip
    slots = set(WalStream.objects.values_list("slot", flat=True))
    assert len(slots) == 2 and all(slot.startswith("hotfleet_") and len(slot) <= 63 for slot in slots)
    assert AuditEvent.objects.filter(verb="log.on").count() == 2
    WalStream.objects.filter(device=other).update(has_slot=True)
    policy.delete()
    wishes.look(timezone.now())
    assert [each.state for each in WalStream.objects.order_by("device__name")] == ["off", "ending"]
    assert AuditEvent.objects.filter(verb="log.off").count() == 2


@pytest.mark.parametrize(
    "fields", [{"mode": "cold"}, {"mode": "out"}, {"keeps_log": False}, {"application": "redis"}]
)
def test_what_is_no_wish_makes_no_stream(fields: dict[str, Any]) -> None:
    want(make_device(), **fields)
    wishes.look(timezone.now())
    assert not WalStream.objects.exists()


def test_a_hot_source_beside_one_that_keeps_its_log_cold_is_no_wish() -> None:
    policy = want(make_device(), mode="cold")
    Source.objects.create(policy=policy, application="postgresql", instance="15/other")
    wishes.look(timezone.now())
    assert not WalStream.objects.exists()


def test_a_paused_policy_wants_nothing_and_may_want_it_again() -> None:
    stream = make_stream(has_slot=True, problem="x", failures=7)
    Policy.objects.update(is_enabled=False)
    wishes.look(timezone.now())
    assert WalStream.objects.get().state == WalStream.ENDING
    Policy.objects.update(is_enabled=True)
    wishes.look(timezone.now())
    again = WalStream.objects.get()
    assert (again.pk, again.state, again.failures) == (stream.pk, WalStream.WAITING, 0)
    assert again.is_wanted


def test_a_device_out_of_service_keeps_no_log() -> None:
    stream = make_stream(has_slot=True)
    Device.objects.update(retired_at=timezone.now())
    wishes.look(timezone.now())
    assert WalStream.objects.get().state == WalStream.ENDING
    Device.objects.update(retired_at=None)
    wishes.look(timezone.now())
    assert (WalStream.objects.get().pk, WalStream.objects.get().is_wanted) == (stream.pk, True)


def test_of_two_policies_the_other_one_goes_on_wanting() -> None:
    device = make_device()
    first, second = want(device), want(device, name="more")
    wishes.look(timezone.now())
    assert WalStream.objects.get().policy == first
    PolicyDevice.objects.filter(policy=first).delete()
    wishes.look(timezone.now())
    stream = WalStream.objects.get()
    assert stream.is_wanted and stream.policy == second


# Who follows.


def test_one_process_follows_a_stream() -> None:
    make_stream()
    first, second = Holding(), Holding()
    assert len(first.take(5)) == 1
    assert second.take(5) == []
    assert len(first.renew()) == 1 and first.is_current()
    # The first one died: nobody renewed.
    WalStream.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    (taken,) = second.take(5)
    assert first.renew() == set()
    assert not first.rows().filter(pk=taken.pk).update(state=WalStream.FOLLOWING)
    second.release([taken.pk])
    assert WalStream.objects.get().lease_until is None


def test_a_lease_that_was_not_renewed_is_not_current(monkeypatch: pytest.MonkeyPatch) -> None:
    make_stream()
    holding = Holding()
    assert not holding.is_current()
    holding.renew()
    follower = Follower(holding.take(1)[0], holding)
    follower.raise_if_stopped()
    now = holding._good_until
    monkeypatch.setattr("backupsite.recovery.wal.lease.time.monotonic", lambda: now + 1)
    with pytest.raises(LeaseLost):
        follower.raise_if_stopped()


def test_no_more_are_taken_than_a_machine_follows() -> None:
    want(*(make_device(f"db-{number}") for number in range(5)))
    wishes.look(timezone.now())
    keeper = Keeper(3, Scripted)
    beat(keeper)
    beat(keeper)
    assert len(made) == 3
    made[0].end()
    beat(keeper)
    beat(keeper)
    assert len(made) == 4


def test_what_a_follower_hears_is_written_down() -> None:
    make_stream()
    keeper = Keeper(5, Scripted)
    beat(keeper)
    stream = WalStream.objects.get()
    assert (stream.state, stream.has_slot) == (WalStream.CONNECTING, True)
    made[0].tell(tell_streamed(50))
    made[0].tell(tell_streamed(100, behind_bytes=7))
    beat(keeper)
    stream = WalStream.objects.get()
    assert (stream.state, stream.position, stream.behind_bytes) == (WalStream.FOLLOWING, 100, 7)
    assert stream.lease_until is not None and stream.lease_until > timezone.now() + LEASE / 2


def test_a_follower_that_fails_is_tried_again_later_and_later() -> None:
    make_stream()
    keeper, pauses = Keeper(5, Scripted), []
    for _ in range(4):
        WalStream.objects.update(next_try_at=None)
        beat(keeper)
        before = timezone.now()
        made[-1].end(ConnectFailed("Nobody answers.", remedy="Look at it."))
        beat(keeper)
        stream = WalStream.objects.get()
        assert (stream.state, stream.problem, stream.remedy) == ("trouble", "Nobody answers.", "Look at it.")
        assert stream.next_try_at is not None and stream.lease_until is None
        pauses.append(stream.next_try_at - before)
    assert pauses == sorted(pauses) and len(made) == 4
    beat(keeper)
    assert len(made) == 4, "its time has not come"
    since = WalStream.objects.get().problem_at
    WalStream.objects.update(next_try_at=None)
    beat(keeper)
    made[-1].tell(tell_streamed())
    beat(keeper)
    stream = WalStream.objects.get()
    assert since is not None and (stream.problem, stream.problem_at, stream.failures) == ("", None, 0)


def test_what_is_refused_says_so_and_is_not_asked_all_the_time() -> None:
    make_stream()
    keeper = Keeper(5, Scripted)
    beat(keeper)
    made[0].end(PlanRefused("max_slot_wal_keep_size is -1.", remedy="Set it."))
    beat(keeper)
    stream = WalStream.objects.get()
    assert stream.next_try_at is not None
    assert stream.next_try_at > timezone.now() + notes.LONGEST_PAUSE - timedelta(seconds=30)


def test_a_follower_whose_stream_another_one_took_is_stopped_and_writes_nothing() -> None:
    make_stream()
    keeper = Keeper(5, Scripted)
    beat(keeper)
    WalStream.objects.update(lease_token="another", holder="another")
    made[0].tell(tell_streamed())
    beat(keeper)
    made[0].join(60)
    assert made[0].is_over and not made[0].is_current()
    beat(keeper)
    stream = WalStream.objects.get()
    assert (stream.position, stream.holder, stream.state) == (None, "another", WalStream.CONNECTING)


def test_a_stream_that_is_turned_off_is_left_then_its_slot_is_removed() -> None:
    make_stream()
    keeper = Keeper(5, Scripted)
    beat(keeper)
    PolicyDevice.objects.all().delete()
    wishes.look(timezone.now())
    beat(keeper)
    made[0].join(60)
    beat(keeper)
    beat(keeper)
    assert [each.is_ending for each in made] == [False, True]
    made[1].end(ConnectFailed("Nobody answers."))
    beat(keeper)
    stream = WalStream.objects.get()
    assert (stream.state, stream.has_slot, stream.problem) == ("ending", True, "Nobody answers.")
    WalStream.objects.update(next_try_at=None)
    beat(keeper)
    made[2].end()
    beat(keeper)
    stream = WalStream.objects.get()
    assert (stream.state, stream.has_slot, stream.problem) == ("off", False, "")
    assert AuditEvent.objects.filter(verb="log.slot-removed").count() == 1
    beat(keeper)
    assert len(made) == 3


def test_a_keeper_that_leaves_gives_its_streams_back() -> None:
    make_stream()
    keeper = Keeper(5, Scripted)
    beat(keeper)
    keeper.leave()
    assert made[0].is_over
    stream = WalStream.objects.get()
    assert (stream.state, stream.lease_until, stream.lease_token) == (WalStream.WAITING, None, "")


def test_a_gap_is_told_although_the_database_was_away(monkeypatch: pytest.MonkeyPatch) -> None:
    make_stream()
    keeper = Keeper(5, Scripted)
    beat(keeper)
    made[0].tell(Gap("second", 100, 200, "the slot is lost"))

    def refuse(*_: object) -> None:
        raise DatabaseError

    with monkeypatch.context() as patch:
        patch.setattr(notes, "note_news", refuse)
        with pytest.raises(DatabaseError):
            beat(keeper)
    beat(keeper)
    beat(keeper)
    assert WalGap.objects.count() == Notice.objects.count() == 1


def test_a_stream_that_was_taken_and_not_begun_is_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    make_stream()
    keeper = Keeper(5, Scripted)

    def refuse(*_: object) -> None:
        raise DatabaseError

    with monkeypatch.context() as patch:
        patch.setattr(notes, "note_begin", refuse)
        with pytest.raises(DatabaseError):
            beat(keeper)
    assert made == []
    beat(keeper)
    assert len(made) == 1


def test_what_one_device_made_up_keeps_no_other_from_being_written_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    want(make_device(), make_device("db-02"))
    wishes.look(timezone.now())
    keeper = Keeper(5, Scripted)
    beat(keeper)
    for number, follower in enumerate(made):
        follower.tell(tell_streamed(100 + number))
    note = notes.note_news

    def refuse(rows: QuerySet[WalStream], newest: Streamed | None, gaps: tuple[Gap, ...]) -> None:
        if newest is not None and newest.tick.lsn == 100:
            raise DataError("value too long")
        note(rows, newest, gaps)

    monkeypatch.setattr(notes, "note_news", refuse)
    beat(keeper)
    assert sorted(WalStream.objects.values_list("state", flat=True)) == ["connecting", "following"]
