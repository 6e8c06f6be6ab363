"""A restore point is read from its second copy when the first one is damaged or gone, or a person says so."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from django.test import Client
from django.utils import timezone

from agents.errors import AgentError, PlanRefused
from agents.events import Said
from backupsite.accounts.models import AuditEvent
from backupsite.fleet.models import Device
from backupsite.policies.models import Policy
from backupsite.recovery import comebacks
from backupsite.recovery.browsing import Browse, ask_listing, find_listing, read_page
from backupsite.recovery.copies import Copy, ask_copy
from backupsite.recovery.downloads import Fetch, ask_download, file_of
from backupsite.recovery.drills import Prove, ask_drill
from backupsite.recovery.folders import decode_path, encode_path
from backupsite.recovery.index.adding import add
from backupsite.recovery.index.reading import under
from backupsite.recovery.models import PointCopy, RestorePoint
from backupsite.recovery.origins import BEST, COPY, FIRST, find_origin
from backupsite.repositories.making import ensure_copy, ensure_repository, repository_path
from backupsite.repositories.models import Node, Repository, Storage
from backupsite.runs.models import Run
from backupsite.runs.states import State
from tests.backupsite.making import make_device, make_point, make_policy, make_run
from tests.backupsite.recovery.maintained import Maintained, make_maintained
from tests.backupsite.repositories.conftest import device, home, storage

__all__ = ["device", "home", "storage"]
pytestmark = pytest.mark.django_db


@pytest.fixture
def other(storage: Storage) -> Storage:
    path = Path(storage.path).with_name("other")
    path.mkdir(mode=0o700)
    (path / ".hotfleet-storage").write_text("other")
    return Storage.objects.create(node=storage.node, name="<b>vault", path=str(path), marker="other")


@pytest.fixture
def kept(device: Device, storage: Storage, other: Storage, tmp_path: Path) -> Maintained:
    """A device with two restore points, each really in its repository and in the second copy."""
    kept = make_maintained(device, tmp_path)
    Policy.objects.update(copy_storage=other)
    kept.work(Copy(), started(ask_copy(kept.repository, requested_by="ada")))
    for name, point in kept.points.items():
        paths = [encode_path(str(tmp_path / name))]
        RestorePoint.objects.filter(pk=point.pk).update(source=str(tmp_path), paths=paths)
        point.refresh_from_db()
    return kept


@pytest.fixture
def point(device: Device, storage: Storage, other: Storage) -> RestorePoint:
    """A restore point with a second copy, as rows; its repository is a directory with a file."""
    first = ensure_repository(device)
    Repository.objects.filter(pk=first.pk).update(restic_id="5" * 64)
    repository_path(first).mkdir()
    (repository_path(first) / "config").write_text("x")
    point = make_point(device, make_policy(device), timezone.now())
    PointCopy.objects.create(
        point=point, repository=ensure_copy(first, other), restic_id="6" * 64, copied_at=timezone.now()
    )
    return point


def said(kept: Maintained) -> str:
    return " ".join(event.text for event in kept.told if isinstance(event, Said))


def started(run: Run | None) -> Run:
    assert run is not None
    Run.objects.filter(pk=run.pk).update(state=State.RUNNING)
    run.refresh_from_db()
    return run


def answer_of(point: RestorePoint, **fields: str) -> dict[str, str]:
    whole = {"point": str(point.pk), "to": "folder", "target": "/var/restore/x", "conflict": "skip"}
    return {**whole, "token": "8d0b2e9c-6f1d-4b53-9a4e-0d5c2c1f7a10", "origin": "copy", **fields}


def test_the_first_one_is_read_while_nothing_is_wrong_with_it(point: RestorePoint) -> None:
    assert not find_origin([point]).is_copy
    assert find_origin([point], COPY).name_of(point.restic_id) == "6" * 64
    RestorePoint.objects.update(damage="data of its files is damaged")
    point.refresh_from_db()
    assert find_origin([point]).repository.copy_of == point.repository
    assert not find_origin([point], FIRST).is_copy, "who says so gets the first one"
    lone = make_point(point.device, None, point.made_at, "/etc")
    for points in ([lone], [point, lone]):
        with pytest.raises(PlanRefused, match="second copy does not hold"):
            find_origin(points, COPY)


def test_a_repository_that_is_gone_is_read_from_its_copy(kept: Maintained) -> None:
    point = kept.points["b"]
    path = decode_path(point.paths[0])
    data, folder = Path(path).read_bytes(), str(Path(path).parent)
    shutil.rmtree(kept.path)
    kept.work(Browse(), started(ask_listing(point, folder, requested_by="ada")))
    listing = find_listing(point, folder)
    assert listing is not None and [entry.name for entry in read_page(listing, 1)] == ["b"]
    assert "second copy in <b>vault" in said(kept) and "no repository in" in said(kept)
    download = ask_download(point, [path], archive="", requested_by="ada")
    assert kept.work(Fetch(), started(download.run)).state == State.SUCCEEDED
    assert file_of(download).read_bytes() == data
    add(point)
    assert under(point, [folder]) is not None
    insisted = ask_download(point, [path], archive="", requested_by="ada", origin=FIRST)
    with pytest.raises(AgentError):
        kept.work(Fetch(), started(insisted.run))
    copied = started(ask_drill(point, None, requested_by="ada", origin=COPY))
    assert kept.work(Prove(), copied).state == State.SUCCEEDED
    with pytest.raises(AgentError):
        kept.work(Prove(), started(ask_drill(point, None, requested_by="ada")))


def test_what_lies_on_another_node_is_not_taken_for_gone(point: RestorePoint) -> None:
    shutil.rmtree(repository_path(point.repository))
    assert find_origin([point]).is_copy
    Storage.objects.filter(pk=point.repository.storage_id).update(node=Node.objects.create(slug="north"))
    assert not find_origin([RestorePoint.objects.get(pk=point.pk)]).is_copy


def test_damage_of_the_copy_is_told_before_it_is_read(point: RestorePoint) -> None:
    RestorePoint.objects.update(damage="data of its files is damaged")
    Repository.objects.exclude(copy_of=None).update(damage="data/x: damaged")
    said = find_origin([RestorePoint.objects.get(pk=point.pk)]).sentence
    assert said.endswith(
        "found the first one damaged. A check found damage in that copy: what needs it fails."
    )


def test_a_drill_of_the_copy_is_asked_for_by_a_button(point: RestorePoint, operator: Client) -> None:
    assert operator.post(f"/points/{point.pk}/drill/", {"origin": "copy"}).status_code == 302
    assert Run.objects.get(kind=Run.DRILL).request["from"] == COPY
    assert AuditEvent.objects.get(verb="device.drill").detail["from"] == COPY


def test_the_page_proposes_the_copy_of_a_damaged_one(point: RestorePoint, operator: Client) -> None:
    page = operator.get(point.get_absolute_url()).content.decode()
    assert "Where it is kept" in page and "&lt;b&gt;vault" in page and "found the first one" not in page
    path = f"/devices/{point.device.slug}/restore/"
    assert operator.get(path, {"point": str(point.pk)}).context["form"].initial["origin"] == FIRST
    RestorePoint.objects.update(damage="data of its files is damaged")
    assert "found the first one damaged" in operator.get(point.get_absolute_url()).content.decode()
    proposed = operator.get(path, {"point": str(point.pk)})
    assert proposed.context["form"].initial["origin"] == COPY
    text = proposed.content.decode()
    assert "It is read from the second copy" in text
    (chosen,) = re.findall(r'<input type="radio" name="origin" value="copy"[^>]*>', text)
    assert "checked" in chosen
    insists = operator.get(path, {"point": str(point.pk), "origin": "first"})
    assert insists.context["form"].initial["origin"] == FIRST


def test_what_the_form_says_is_what_the_run_reads(point: RestorePoint, operator: Client) -> None:
    path = f"/devices/{point.device.slug}/restore/"
    operator.post(path, answer_of(point))
    assert Run.objects.get(kind=Run.RESTORE).request["from"] == COPY
    assert AuditEvent.objects.get(verb="device.restore").detail["from"] == COPY
    lone = make_point(point.device, None, point.made_at, "/etc")
    page = operator.get(path, {"point": str(lone.pk)})
    assert page.context["wish"].origin == FIRST, "others that are offered have a copy"
    answer = operator.post(path, answer_of(lone))
    assert answer.status_code == 422 and "not in the second copy" in answer.content.decode()


def test_without_a_copy_there_is_nothing_to_choose(operator: Client) -> None:
    point = make_point(make_device("lone"), None, timezone.now(), "/srv")
    page = operator.get("/devices/lone/restore/", {"point": str(point.pk)})
    assert page.context["wish"].origin == BEST and "Read from" not in page.content.decode()


def test_nothing_is_replaced_while_it_cannot_be_saved_first(point: RestorePoint, operator: Client) -> None:
    shutil.rmtree(repository_path(point.repository))
    fields = answer_of(point, conflict="replace", safety="on", typed=point.device.name)
    answer = operator.post(f"/devices/{point.device.slug}/restore/", fields)
    assert answer.status_code == 422 and "Nothing can be backed up first" in answer.content.decode()
    assert not Run.objects.exists()


def test_an_application_comes_back_from_the_copy_but_its_log_does_not(point: RestorePoint) -> None:
    RestorePoint.objects.update(source="postgresql:15/main", part="base.tar", method="stream")
    shutil.rmtree(repository_path(point.repository))
    wish = {"way": "in-place", "services": [], "keep": False, "folder": "", "port": 0, "part": "",
            "new_name": "", "table": "", "points": [str(point.pk)]}  # fmt: skip
    run = make_run(point.device, kind=Run.COMEBACK, request=wish)
    asked = comebacks.make_request(run)
    assert [part.restic_id for part in asked.stored.parts] == ["6" * 64]
    assert asked.place.path == repository_path(Repository.objects.get(copy_of=point.repository))
    run.request["moment"] = "newest"
    with pytest.raises(PlanRefused, match="log of PostgreSQL is in the first repository alone"):
        comebacks.make_request(run)
