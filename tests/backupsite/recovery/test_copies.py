"""Second copies by policy: made after a backup, with what the policy keeps there, on another storage."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from django.test import Client
from django.utils import timezone

from agents.errors import PlanRefused
from agents.events import Moved
from agents.restic.repository import open_repository
from backupsite.engine import console_restic
from backupsite.fleet.models import Device
from backupsite.policies.models import Policy
from backupsite.recovery.copies import Copy, list_lacking, list_wanted, start_copies, storage_for
from backupsite.recovery.maintenance import Check
from backupsite.recovery.models import PointCopy, RestorePoint
from backupsite.recovery.places import place_of
from backupsite.recovery.repository_page import second_of
from backupsite.repositories.models import Node, Repository, Storage
from backupsite.runs.models import Run
from backupsite.runs.states import State
from tests.agents.maintenance_ground import flip
from tests.backupsite.making import make_device, make_point, make_policy
from tests.backupsite.recovery.maintained import Held, Maintained, make_maintained
from tests.backupsite.repositories.conftest import device, home, storage

__all__ = ["device", "home", "storage"]
pytestmark = pytest.mark.django_db


@pytest.fixture
def kept(device: Device, storage: Storage, tmp_path: Path) -> Maintained:
    return make_maintained(device, tmp_path)


@pytest.fixture
def other(kept: Maintained) -> Storage:
    """Another storage; the policy wants second copies there."""
    path = Path(kept.repository.storage.path).with_name("other")
    node = kept.repository.storage.node
    path.mkdir(mode=0o700)
    (path / ".hotfleet-storage").write_text("other")
    made = Storage.objects.create(node=node, name="other", path=str(path), marker="other")
    Policy.objects.update(copy_storage=made)
    return made


def test_a_second_copy_is_made_of_all_that_the_policy_wants(kept: Maintained, other: Storage) -> None:
    assert kept.work(Copy(), kept.run(Run.COPY)).state == State.SUCCEEDED
    target = Repository.objects.get(copy_of=kept.repository)
    assert target.storage == other and target.is_made and target.copied_at and target.used_bytes
    copies = PointCopy.objects.filter(repository=target)
    assert {copy.point for copy in copies} == set(kept.points.values())
    place = place_of(target)
    with open_repository(place.path, place.password, console_restic()) as engine:
        assert {info.snapshot_id for info in engine.list_snapshots()} == {copy.restic_id for copy in copies}
    moved = [event for event in kept.told if isinstance(event, Moved)]
    packs = [each for each in (Path(other.path) / str(target.uuid) / "data").glob("*/*")]
    assert moved[-1].bytes_done == sum(pack.stat().st_size for pack in packs) > 400_000
    assert (moved[-1].files_done, moved[-1].files_total) == (2, 2)
    kept.work(Copy(), kept.run(Run.COPY))
    assert PointCopy.objects.count() == 2


def test_the_copy_is_checked_like_the_first_one(kept: Maintained, other: Storage) -> None:
    kept.work(Copy(), kept.run(Run.COPY))
    target = Repository.objects.get(copy_of=kept.repository)
    assert kept.work(Check(), kept.run(Run.CHECK, repository=str(target.uuid))).state == State.SUCCEEDED
    flip(
        max((Path(other.path) / str(target.uuid) / "data").glob("*/*"), key=lambda each: each.stat().st_size)
    )
    run = kept.run(Run.CHECK, repository=str(target.uuid), everything=True)
    assert kept.work(Check(), run).state == State.FAILED
    target.refresh_from_db()
    assert target.damage and not RestorePoint.objects.exclude(damage="").exists()


def test_a_copy_beside_the_first_one_is_refused(kept: Maintained) -> None:
    Policy.objects.update(copy_storage=kept.repository.storage)
    with pytest.raises(PlanRefused, match="same storage"):
        Copy().work(kept.run(Run.COPY), kept.told.append, Held())


def test_without_a_policy_that_wants_it_there_is_none(kept: Maintained) -> None:
    with pytest.raises(PlanRefused, match="No policy"):
        Copy().work(kept.run(Run.COPY), kept.told.append, Held())
    assert start_copies(timezone.now()) == 0


def test_what_is_damaged_removed_or_too_old_is_not_copied(storage: Storage) -> None:
    device = make_device("web-01")
    policy = make_policy(device, copy_storage=storage, copy_keep=timedelta(days=7))
    now = timezone.now()
    good = make_point(device, policy, now - timedelta(days=1))
    make_point(device, policy, now - timedelta(days=9))
    make_point(device, policy, now - timedelta(days=2), damage="data of its files is damaged")
    make_point(device, policy, now - timedelta(days=3), resting_since=now)
    old = make_point(device, policy, now - timedelta(days=30), "/etc")  # the newest of its source
    repository = Repository.objects.get(device=device)
    assert list_wanted(repository, now) == [old, good]
    policy.copy_keep = None
    policy.save()
    assert len(list_wanted(repository, now)) == 3


def test_a_copy_is_asked_for_after_each_backup_and_not_while_one_works(storage: Storage) -> None:
    device, now = make_device("web-01"), timezone.now()
    policy = make_policy(device, copy_storage=storage)
    make_point(device, policy, now - timedelta(hours=1))
    repository = Repository.objects.get(device=device)
    Repository.objects.update(restic_id="5" * 64)
    assert start_copies(now) == 1
    assert start_copies(now) == 0
    Run.objects.update(state=State.FAILED, ended_at=now)
    assert start_copies(now + timedelta(minutes=5)) == 0
    assert start_copies(now + timedelta(minutes=35)) == 1
    Run.objects.update(state=State.SUCCEEDED, ended_at=now)
    Repository.objects.create(
        copy_of=repository, storage=storage, sealed_password=b"", restic_id="6" * 64, copied_at=now
    )
    assert start_copies(now) == 0
    make_point(device, policy, now + timedelta(minutes=1))
    assert start_copies(now + timedelta(minutes=2)) == 1


def test_a_storage_that_no_machine_reaches_with_the_first_gets_no_copy(
    kept: Maintained, other: Storage, operator: Client
) -> None:
    assert start_copies(timezone.now()) == 1
    Run.objects.all().delete()
    cellar = Node.objects.create(slug="cellar", name="cellar")
    Storage.objects.filter(pk=other.pk).update(node=cellar)
    assert start_copies(timezone.now()) == 0, "nobody fails at it again and again"
    with pytest.raises(PlanRefused, match="other lies on the node cellar, and this repository on"):
        kept.work(Copy(), kept.run(Run.COPY))
    assert not Repository.objects.filter(copy_of=kept.repository).exists()
    text = operator.get(f"/repositories/{kept.repository.uuid}/").content.decode()
    assert "no machine reaches both. Choose a storage on the same node" in text and "Copy now" not in text
    Run.objects.all().delete()
    Storage.objects.filter(pk=other.pk).update(kind=Storage.S3)
    assert start_copies(timezone.now()) == 1


def test_what_a_device_stored_before_it_left_its_policy_is_copied_still(storage: Storage) -> None:
    device, now = make_device("web-01"), timezone.now()
    policy = make_policy(device, copy_storage=storage)
    made = make_point(device, policy, now - timedelta(minutes=5))
    repository = Repository.objects.get(device=device)
    copy = Repository.objects.create(
        copy_of=repository, storage=storage, sealed_password=b"", copied_at=now - timedelta(hours=1)
    )
    Repository.objects.update(restic_id="5" * 64)
    policy.assignments.all().delete()
    assert storage_for(repository) == storage and list(list_lacking(now)) == [repository]
    assert second_of(repository).missing == 1
    PointCopy.objects.create(point=made, repository=copy, restic_id="6" * 64, copied_at=now)
    assert second_of(repository).is_complete


def test_two_copies_are_not_claimed_while_the_newest_of_a_source_has_one(storage: Storage) -> None:
    device, now = make_device("web-01"), timezone.now()
    make_point(device, make_policy(device, name="other", paths=("/etc",)), now, "/etc")
    copied = make_point(device, make_policy(device, copy_storage=storage), now)
    repository = Repository.objects.get(device=device)
    copy = Repository.objects.create(copy_of=repository, storage=storage, sealed_password=b"", copied_at=now)
    PointCopy.objects.create(point=copied, repository=copy, restic_id="6" * 64, copied_at=now)
    second = second_of(repository)
    assert (second.missing, second.alone, second.is_complete) == (0, 1, False)
