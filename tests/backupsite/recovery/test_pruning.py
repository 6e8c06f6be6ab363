"""Old data goes from a repository and its second copy: what the catalogue says, and nothing else."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from agents.errors import PlanRefused
from agents.restic.repository import open_repository
from backupsite.accounts.models import AuditEvent
from backupsite.engine import console_restic
from backupsite.fleet.models import Device
from backupsite.policies.models import Policy
from backupsite.recovery import maintenance_due, retiring_clock
from backupsite.recovery.copies import Copy, list_wanted
from backupsite.recovery.maintenance import Check
from backupsite.recovery.models import PointCopy, RestorePoint, RetentionHold
from backupsite.recovery.places import place_of
from backupsite.recovery.pruning import Prune, find_going, find_our_strays
from backupsite.recovery.retiring_models import ClockMark
from backupsite.repositories.models import Repository, Storage
from backupsite.runs.models import Run
from backupsite.runs.states import State
from tests.backupsite.making import make_run
from tests.backupsite.recovery.maintained import Held, Maintained, make_maintained
from tests.backupsite.recovery.test_copies import other
from tests.backupsite.repositories.conftest import device, home, storage

__all__ = ["device", "home", "other", "storage"]
pytestmark = pytest.mark.django_db


@pytest.fixture
def kept(device: Device, storage: Storage, tmp_path: Path) -> Maintained:
    retiring_clock.look(timezone.now())
    return make_maintained(device, tmp_path)


def let_go(point: RestorePoint) -> None:
    now = timezone.now()
    RestorePoint.objects.filter(pk=point.pk).update(
        resting_since=now - timedelta(days=8), rests_until=now - timedelta(days=1), resting_why="policy"
    )


def snapshots_of(repository: Repository) -> set[str]:
    place = place_of(repository)
    with open_repository(place.path, place.password, console_restic()) as engine:
        return {info.snapshot_id for info in engine.list_snapshots()}


def prune(kept: Maintained) -> State:
    held = Held()
    run = kept.run(Run.PRUNE)
    ended = Prune().work(run, kept.told.append, held)
    for write in held.results:
        write()
    Run.objects.filter(pk=run.pk).update(state=ended.state, ended_at=timezone.now())
    kept.repository.refresh_from_db()
    return ended.state


def test_what_rested_long_enough_goes_and_nothing_else(kept: Maintained) -> None:
    assert prune(kept) == State.SUCCEEDED
    assert len(snapshots_of(kept.repository)) == 2
    let_go(kept.points["b"])
    before = kept.repository.used_bytes
    assert prune(kept) == State.SUCCEEDED
    assert snapshots_of(kept.repository) == {kept.points["a"].restic_id}
    assert list(RestorePoint.objects.all()) == [kept.points["a"]]
    assert kept.repository.pruned_at and kept.repository.used_bytes < before
    event = AuditEvent.objects.get(verb="forget-restore-points")
    assert event.detail["points"] == 1


def test_the_second_copy_forgets_it_too(kept: Maintained, other: Storage) -> None:
    kept.work(Copy(), kept.run(Run.COPY))
    target = Repository.objects.get(copy_of=kept.repository)
    let_go(kept.points["b"])
    assert prune(kept) == State.SUCCEEDED
    [copy] = PointCopy.objects.all()
    assert copy.point == kept.points["a"] and snapshots_of(target) == {copy.restic_id}


def test_a_second_copy_that_is_not_there_is_a_warning(kept: Maintained, other: Storage) -> None:
    kept.work(Copy(), kept.run(Run.COPY))
    (Path(other.path) / ".hotfleet-storage").unlink()
    let_go(kept.points["b"])
    assert prune(kept) == State.WARNINGS
    assert snapshots_of(kept.repository) == {kept.points["a"].restic_id}


def test_nothing_goes_from_a_damaged_or_held_repository(kept: Maintained) -> None:
    let_go(kept.points["b"])
    RetentionHold.objects.create(
        device=kept.device, cause=RetentionHold.PERSON, text="wait", since=timezone.now()
    )
    assert prune(kept) == State.SUCCEEDED and len(snapshots_of(kept.repository)) == 2
    Repository.objects.update(damage="data/x: damaged")
    with pytest.raises(PlanRefused, match="damaged"):
        Prune().work(kept.run(Run.PRUNE), kept.told.append, Held())


def test_a_prune_that_was_killed_before_it_wrote_it_down_is_no_damage(kept: Maintained) -> None:
    let_go(kept.points["b"])
    (kept.path / "snapshots" / kept.points["b"].restic_id).unlink()
    assert kept.work(Check(), kept.run(Run.CHECK)).state == State.SUCCEEDED
    assert kept.repository.reading["stray_count"] == 0
    assert prune(kept) == State.SUCCEEDED and RestorePoint.objects.count() == 1


def test_the_copies_own_time_to_keep_spares_the_newest_and_what_is_damaged(
    kept: Maintained, other: Storage
) -> None:
    kept.work(Copy(), kept.run(Run.COPY))
    target, now = Repository.objects.get(copy_of=kept.repository), timezone.now()
    Policy.objects.update(copy_keep=timedelta(days=7))
    later = now + timedelta(days=10)
    ClockMark.objects.update(seen_at=later)
    [going] = find_going(target, [], later)
    assert going.point == kept.points["a"]  # b is the newest of the same source
    for spared in ({"damage": "data of its files is damaged"}, {"is_protected": True}):
        RestorePoint.objects.filter(pk=kept.points["a"].pk).update(**spared)
        assert find_going(target, [], later) == []
        RestorePoint.objects.filter(pk=kept.points["a"].pk).update(damage="", is_protected=False)


def test_only_snapshots_of_our_failed_runs_go_by_themselves(kept: Maintained) -> None:
    now = timezone.now()
    failed = make_run(kept.device, State.FAILED)
    lost, good = make_run(kept.device, State.LOST), make_run(kept.device, State.SUCCEEDED)
    old, new = (now - timedelta(days=8)).isoformat(), (now - timedelta(days=6)).isoformat()
    rows = [
        ["1" * 64, old, "db-01", [f"run={failed.pk.hex}"], []],
        ["2" * 64, new, "db-01", [f"run={failed.pk.hex}"], []],
        ["3" * 64, old, "db-01", [f"run={lost.pk.hex}"], []],
        ["4" * 64, old, "db-01", [f"warm={failed.pk.hex}"], []],
        ["5" * 64, old, "db-01", [f"run={good.pk.hex}"], []],
        ["6" * 64, old, "db-01", ["run=" + "0" * 32], []],
        ["7" * 64, old, "evil", ["run=x"], []],
        ["8" * 64, old, "evil", [], []],
        [kept.points["a"].restic_id, old, "db-01", [f"run={failed.pk.hex}"], []],
    ]
    Repository.objects.update(reading={"strays": rows})
    kept.repository.refresh_from_db()
    assert find_our_strays(kept.repository, now) == ["1" * 64, "4" * 64]


def test_it_is_asked_for_when_something_is_due(kept: Maintained) -> None:
    now = timezone.now()
    assert maintenance_due.start_prunes(now) == 0
    let_go(kept.points["b"])
    assert maintenance_due.start_prunes(now) == 1
    Run.objects.update(state=State.SUCCEEDED, ended_at=now)
    assert maintenance_due.start_prunes(now + timedelta(hours=19)) == 0
    assert maintenance_due.start_prunes(now + timedelta(hours=21)) == 1
    Run.objects.update(state=State.SUCCEEDED, ended_at=now)
    Repository.objects.update(damage="data/x: damaged")
    assert maintenance_due.start_prunes(now + timedelta(hours=42)) == 0


def test_a_second_copy_keeps_everything_while_the_first_is_not_there(
    kept: Maintained, other: Storage
) -> None:
    kept.work(Copy(), kept.run(Run.COPY))
    target = Repository.objects.get(copy_of=kept.repository)
    let_go(kept.points["b"])
    kept.path.rename(kept.path.with_name("gone"))
    with pytest.raises(PlanRefused, match="no repository"):
        prune(kept)
    assert len(snapshots_of(target)) == 2 and PointCopy.objects.count() == 2


def test_the_newest_of_what_is_left_and_the_newest_to_rely_on_stay_in_a_copy(
    kept: Maintained, other: Storage
) -> None:
    kept.work(Copy(), kept.run(Run.COPY))
    target, later = Repository.objects.get(copy_of=kept.repository), timezone.now() + timedelta(days=10)
    Policy.objects.update(copy_keep=timedelta(days=7))
    ClockMark.objects.update(seen_at=later)
    [going] = find_going(target, [kept.points["b"]], later)
    assert going.point == kept.points["b"], "a is the newest of what is left"
    younger = RestorePoint.objects.filter(pk=kept.points["b"].pk)
    for fields in ({"is_complete": False}, {"drill_state": "failed"}, {"method": "cold+btrfs"}):
        younger.update(**{"is_complete": True, "drill_state": "none", "method": "btrfs", **fields})
        assert find_going(target, [], later) == [], "b alone would leave nothing to rely on"
        assert len(list_wanted(kept.repository, later)) == 2
