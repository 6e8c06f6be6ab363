"""Checks of repositories as runs: what they write down, whose turn it is, and the page."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.test import Client
from django.utils import timezone

from agents.errors import PlanRefused
from backupsite.alerts.models import Notice
from backupsite.fleet.devices import Actor, retire_device
from backupsite.fleet.models import Device
from backupsite.policies.models import PolicyDevice
from backupsite.policies.pausing import pause
from backupsite.recovery import maintenance_due
from backupsite.recovery.exposure import Standing, judge_devices
from backupsite.recovery.maintenance import Check, GivingWay
from backupsite.recovery.maintenance_keeping import OF_ITS_SET, _mark
from backupsite.recovery.models import RestorePoint
from backupsite.repositories.models import Repository
from backupsite.runs.models import Run
from backupsite.runs.states import State
from tests.agents.maintenance_ground import flip
from tests.backupsite.making import make_device, make_point, make_policy, make_run, repository_of
from tests.backupsite.recovery.maintained import Held, Maintained, make_maintained
from tests.backupsite.repositories.conftest import device, home, storage

__all__ = ["device", "home", "storage"]
pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 22, 12, 0, 3, tzinfo=UTC)
ADA = Actor("ada")


@pytest.fixture
def kept(device: Device, storage: object, tmp_path: Path) -> Maintained:
    return make_maintained(device, tmp_path)


def test_a_good_check_is_written_down(kept: Maintained) -> None:
    ended = kept.work(Check(), kept.run(Run.CHECK))
    assert ended.state == State.SUCCEEDED
    repository = kept.repository
    assert repository.read_at and repository.structure_checked_at and repository.damage == ""
    assert repository.reading["unread_bytes"] == 0 and repository.reading["stray_count"] == 0


def test_damage_is_told_and_marks_its_points_until_it_is_mended(kept: Maintained) -> None:
    pack = kept.largest_pack()
    whole = pack.read_bytes()
    flip(pack)
    ended = kept.work(Check(), kept.run(Run.CHECK))
    assert ended.state == State.FAILED and ended.error is not None and pack.name in ended.error.detail
    assert pack.name in kept.repository.damage and kept.repository.damaged_at
    assert kept.points["b"].damage and not kept.points["a"].damage
    notice = Notice.objects.get(kind="repository-damaged")
    assert pack.name in notice.text and notice.url == f"/repositories/{kept.repository.uuid}/"
    found_at = kept.repository.damaged_at
    kept.work(Check(), kept.run(Run.CHECK))
    assert Notice.objects.filter(kind="repository-damaged").count() == 1
    assert kept.repository.damaged_at == found_at
    pack.write_bytes(whole)
    assert kept.work(Check(), kept.run(Run.CHECK)).state == State.SUCCEEDED
    assert kept.repository.damage == kept.points["b"].damage == "" and kept.repository.damaged_at is None


def test_a_person_who_asks_has_the_structure_checked_too(kept: Maintained) -> None:
    kept.work(Check(), kept.run(Run.CHECK))
    first = kept.repository.structure_checked_at
    kept.work(Check(), kept.run(Run.CHECK))
    assert kept.repository.structure_checked_at == first  # the schedule: not twice a day
    run = kept.run(Run.CHECK)
    run.requested_by = "ada"
    kept.work(Check(), run)
    last = kept.repository.structure_checked_at
    assert first and last and last > first


def test_a_damaged_point_does_not_count(device: Device) -> None:
    policy = make_policy(device)
    old = make_point(device, policy, timezone.now() - timedelta(hours=30))
    new = make_point(device, policy, timezone.now())
    assert judge_devices(timezone.now(), [device.pk])[device.pk].standing == Standing.WITHIN
    _mark(repository_of(device), {new.restic_id: "data of its files is damaged"}, is_whole=True)
    assert judge_devices(timezone.now(), [device.pk])[device.pk].standing == Standing.OUTSIDE
    _mark(repository_of(device), {old.restic_id: "data of its files is damaged"}, is_whole=False)
    assert judge_devices(timezone.now(), [device.pk])[device.pk].standing == Standing.NEVER


def test_with_one_stream_the_whole_set_is_hurt(device: Device) -> None:
    policy, now = make_policy(device), timezone.now()
    base, log = (
        make_point(device, policy, now, "postgresql:15/main", part=part) for part in ("base.tar", "log")
    )
    other = make_point(device, policy, now - timedelta(hours=1), "postgresql:15/main", part="base.tar")
    _mark(repository_of(device), {base.restic_id: "data of its files is damaged"}, is_whole=True)
    log.refresh_from_db()
    other.refresh_from_db()
    assert log.damage == OF_ITS_SET and other.damage == ""
    _mark(repository_of(device), {}, is_whole=True)
    assert not RestorePoint.objects.exclude(damage="").exists()


def test_a_repository_that_is_gone_or_of_another_device_is_refused(kept: Maintained) -> None:
    request = {"repository": str(kept.repository.uuid)}
    other = make_run(make_device("other"), State.RUNNING, Run.CHECK, request=request)
    with pytest.raises(PlanRefused):
        Check().work(other, kept.told.append, Held())
    with pytest.raises(PlanRefused):
        Check().work(kept.run(Run.CHECK, repository=str(uuid.UUID(int=0))), kept.told.append, Held())


def test_a_check_gives_way_to_a_backup_that_waits(device: Device) -> None:
    run = make_run(device, State.RUNNING, Run.CHECK)
    assert not GivingWay(run, Held()).must_give_way()
    make_run(device, State.QUEUED, not_before=timezone.now() + timedelta(hours=1))
    assert not GivingWay(run, Held()).must_give_way()
    make_run(device, State.QUEUED)
    assert GivingWay(run, Held()).must_give_way()


@pytest.fixture
def made(device: Device) -> Repository:
    repository = repository_of(device)
    Repository.objects.update(restic_id="5" * 64)
    return repository


def count_due(now: datetime) -> int:
    return maintenance_due.start_checks(now)


def test_each_repository_is_checked_once_a_day_at_its_own_time(made: Repository) -> None:
    assert count_due(NOW) == 1
    run = Run.objects.get(kind=Run.CHECK)
    assert run.request == {"repository": str(made.uuid), "everything": False}
    assert count_due(NOW) == 0  # it waits
    Run.objects.update(state=State.SUCCEEDED, ended_at=NOW)
    turn = maintenance_due.last_turn(made.uuid, NOW) + timedelta(days=1)
    Repository.objects.update(read_at=turn - timedelta(hours=22))
    assert count_due(turn - timedelta(minutes=5)) == 0
    assert count_due(turn + timedelta(minutes=5)) == 1


def test_a_check_that_was_not_done_is_begun_again_later(made: Repository) -> None:
    count_due(NOW)
    Run.objects.update(state=State.FAILED, ended_at=NOW)
    assert count_due(NOW + timedelta(minutes=5)) == 0
    assert count_due(NOW + timedelta(minutes=35)) == 1


def test_nothing_is_checked_before_it_is_made_or_beside_a_backup(made: Repository) -> None:
    policy = make_policy(made.owner)
    PolicyDevice.objects.filter(policy=policy).update(next_due=NOW + timedelta(minutes=5))
    assert count_due(NOW) == 0
    PolicyDevice.objects.filter(policy=policy).update(next_due=NOW + timedelta(hours=5))
    backup = make_run(made.owner, State.RUNNING)
    assert count_due(NOW) == 0
    backup.delete()
    Repository.objects.update(restic_id="")
    assert count_due(NOW) == 0


@pytest.mark.parametrize("why", ["retired", "paused"])
def test_what_waits_for_no_backup_is_checked_though_one_would_be_due(made: Repository, why: str) -> None:
    policy = make_policy(made.owner)
    PolicyDevice.objects.filter(policy=policy).update(next_due=NOW - timedelta(days=9))
    assert count_due(NOW) == 0
    if why == "retired":
        assert retire_device(ADA, made.owner, is_retired=True, now=NOW)
    else:
        pause(ADA, made.owner, until=NOW + timedelta(days=2), reason="", now=NOW)
    assert count_due(NOW) == 1


def test_new_points_on_damage_are_looked_at_before_their_day(made: Repository) -> None:
    read_at = maintenance_due.last_turn(made.uuid, NOW) + timedelta(minutes=1)
    Repository.objects.update(read_at=read_at, damage="data/x: damaged")
    later = read_at + timedelta(hours=2)
    assert count_due(later) == 0
    make_point(made.owner, None, later - timedelta(minutes=1))
    assert count_due(later) == 1


def test_turns_are_spread_over_the_day() -> None:
    hours = [maintenance_due.last_turn(uuid.uuid4(), NOW).hour for _ in range(2000)]
    assert min(hours.count(hour) for hour in range(24)) > 30


def test_the_page_says_what_is_damaged_and_what_to_do(operator: Client, made: Repository) -> None:
    url = f"/repositories/{made.uuid}/"
    text = operator.get(url).content.decode()
    assert "Not checked yet" in text
    hostile = "<script>x</script>\u202e"
    point = make_point(made.owner, None, timezone.now(), damage="data of its files is damaged")
    Repository.objects.update(
        damage="data/" + "a" * 64 + ": its content is not what was stored", damaged_at=timezone.now(),
        read_at=timezone.now(), structure_checked_at=timezone.now(),
        reading={"total_bytes": 100, "unread_bytes": 40, "ages": [10, 50], "stray_count": 1,
                 "strays": [["b" * 64, timezone.now().isoformat(), hostile, [hostile], [hostile]]]},
    )  # fmt: skip
    text = operator.get(url).content.decode()
    assert "1 restore point</a> is hurt" in text and "keeping what is whole" in text
    assert "60 B of 100 B were read" in text.replace("\u00a0", " ") and "<script>x" not in text
    text = operator.get(point.get_absolute_url()).content.decode()
    assert "A check found that this restore point is damaged." in text
    assert "do not rely on it" in operator.get("/points/").content.decode()


def test_buttons_ask_for_checks_and_strangers_may_not(
    operator: Client, stranger: Client, made: Repository
) -> None:
    url = f"/repositories/{made.uuid}/check/"
    assert operator.get(url).status_code == 405
    assert stranger.post(url).status_code == 302 and not Run.objects.exists()
    assert stranger.get(f"/repositories/{made.uuid}/").status_code == 302
    answer = operator.post(url, {"everything": "1"})
    run = Run.objects.get(kind=Run.CHECK)
    assert answer["Location"] == run.get_absolute_url() and run.request["everything"] is True
    assert operator.get(run.get_absolute_url()).status_code == 200
    assert operator.get(f"/repositories/{'0' * 8}-0000-0000-0000-{'0' * 12}/").status_code == 404
