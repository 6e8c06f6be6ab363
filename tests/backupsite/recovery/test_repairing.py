"""A damaged repository is repaired by a run, from its other copy; and the buttons of its page."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.test import Client

from backupsite.fleet.models import Device
from backupsite.recovery.copies import Copy
from backupsite.recovery.maintenance import Check
from backupsite.recovery.models import PointCopy
from backupsite.repositories.models import Repository, Storage
from backupsite.repositories.storage import StorageMissing
from backupsite.runs.models import Run
from backupsite.runs.states import State
from tests.agents.maintenance_ground import flip
from tests.backupsite.recovery.maintained import Held, Maintained, make_maintained
from tests.backupsite.recovery.test_copies import other
from tests.backupsite.repositories.conftest import device, home, storage

__all__ = ["device", "home", "other", "storage"]
pytestmark = pytest.mark.django_db


@pytest.fixture
def kept(device: Device, storage: Storage, tmp_path: Path) -> Maintained:
    return make_maintained(device, tmp_path)


def test_it_comes_back_from_the_second_copy_and_the_point_is_good_again(
    kept: Maintained, other: Storage, operator: Client
) -> None:
    kept.work(Copy(), kept.run(Run.COPY))
    flip(kept.largest_pack())
    (kept.path / "snapshots" / kept.points["a"].restic_id).unlink()
    before = kept.points["a"].restic_id
    assert kept.work(Check(), kept.run(Run.CHECK)).state == State.FAILED
    assert kept.points["a"].damage and kept.points["b"].damage
    text = operator.get(f"/repositories/{kept.repository.uuid}/").content.decode()
    assert "Repair from the second copy" in text and "2 restore points</a> are hurt" in text
    assert kept.work(Check(), kept.run(Run.CHECK, repair=True)).state == State.SUCCEEDED
    assert kept.points["a"].damage == kept.points["b"].damage == kept.repository.damage == ""
    assert kept.points["a"].restic_id != before
    assert (
        "3-2-1: the data and two copies"
        in operator.get(f"/repositories/{kept.repository.uuid}/").content.decode()
    )


def test_a_second_copy_is_repaired_from_the_first(kept: Maintained, other: Storage) -> None:
    kept.work(Copy(), kept.run(Run.COPY))
    target = Repository.objects.get(copy_of=kept.repository)
    name = str(target.uuid)
    flip(max((Path(other.path) / name / "data").glob("*/*"), key=lambda each: each.stat().st_size))
    assert kept.work(Check(), kept.run(Run.CHECK, repository=name)).state == State.FAILED
    assert kept.work(Check(), kept.run(Run.CHECK, repository=name, repair=True)).state == State.SUCCEEDED
    assert PointCopy.objects.count() == 2


def test_nothing_is_taken_out_while_the_other_copy_is_not_there(kept: Maintained, other: Storage) -> None:
    kept.work(Copy(), kept.run(Run.COPY))
    (Path(other.path) / ".hotfleet-storage").unlink()
    pack = kept.largest_pack()
    flip(pack)
    with pytest.raises(StorageMissing):
        Check().work(kept.run(Run.CHECK, repair=True), kept.told.append, Held())
    assert pack.exists()


def test_buttons_ask_for_runs(kept: Maintained, operator: Client, stranger: Client) -> None:
    url = f"/repositories/{kept.repository.uuid}"
    for word in ("repair", "prune", "copy"):
        assert operator.get(f"{url}/{word}/").status_code == 405
        assert stranger.post(f"{url}/{word}/").status_code == 302
    operator.post(f"{url}/repair/")
    assert not Run.objects.exists()  # nothing is damaged
    Repository.objects.update(damage="data/x: damaged")
    for word, kind in (("repair", Run.CHECK), ("prune", Run.PRUNE), ("copy", Run.COPY)):
        run = operator.post(f"{url}/{word}/")["Location"]
        assert Run.objects.get(kind=kind).get_absolute_url() == run
    assert Run.objects.get(kind=Run.CHECK).request["repair"] is True
    assert "keeping what is whole" in operator.get(f"{url}/").content.decode()
