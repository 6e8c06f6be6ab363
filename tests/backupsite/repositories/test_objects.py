"""An object store becomes a storage: tested, sealed, used by workers; a real S3 server answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from backupsite.accounts.models import AuditEvent
from backupsite.fleet.models import Device
from backupsite.recovery.places import make_place
from backupsite.repositories import kit, making
from backupsite.repositories.models import Repository, Storage
from backupsite.repositories.space import take_samples
from backupsite.repositories.storage import MARKER
from tests.agents.object_ground import BUCKET, KEY, SECRET, ObjectServer, serve_objects
from tests.backupsite.repositories.kits import read_password

pytestmark = pytest.mark.django_db
PAGE = "/repositories/storages/objects/"


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    with serve_objects(tmp_path_factory.mktemp("objects")) as running:
        yield running


def typed(server: ObjectServer, **other: Any) -> dict[str, Any]:
    return {
        "name": "far away", "kind": "s3", "endpoint": server.endpoint, "region": "", "bucket": BUCKET,
        "folder": "fleet", "account": KEY, "secret": SECRET, "quota_gb": "5", **other,
    }  # fmt: skip


def test_what_was_tested_is_kept_sealed_and_holds_the_repository_of_a_device(
    operator: Client, home: Path, server: ObjectServer, device: Device
) -> None:
    answer = operator.post(PAGE, typed(server), follow=True)
    text = answer.content.decode()
    assert "written with" in text and SECRET not in text
    storage = Storage.objects.get(name="far away")
    assert storage.path == f"s3:{server.endpoint}/{BUCKET}/fleet"
    assert SECRET.encode() not in bytes(storage.sealed_secret)
    assert SECRET not in str(list(AuditEvent.objects.values_list("subject", "detail")))
    assert [each.name for each in server.files()] == [MARKER], "the object of the test is gone"

    Storage.objects.update(is_default=True)
    assert kit.confirm_kit(read_password(kit.make_kit().text)[-kit.ENDING_LENGTH :])
    repository, place = make_place(device, lambda event: None)
    assert place.is_there() and Repository.objects.get(pk=repository.pk).is_made
    making.measure_repository(repository)
    take_samples(repository.created_at.date())
    storage.refresh_from_db()
    assert storage.total_bytes == 5_000_000_000
    assert storage.free_bytes == 5_000_000_000 - repository.used_bytes
    assert repository.used_bytes > 0
    assert str(repository.uuid) in operator.get("/repositories/").content.decode()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"secret": "another"}, "account"),
        ({"bucket": "nothing"}, "bucket does not exist"),
        ({"endpoint": "http://127.0.0.1:1"}, "does not answer"),
        ({"endpoint": "ftp://somewhere/path"}, "Write only https://"),
        ({"account": ""}, "a name or an access key"),
    ],
)
def test_what_does_not_work_is_said_and_nothing_is_kept(
    operator: Client, home: Path, server: ObjectServer, monkeypatch: pytest.MonkeyPatch, wrong: Any, said: str
) -> None:
    monkeypatch.setattr("agents.gateway.objects_trying._RETRIES_S", 1.0)
    answer = operator.post(PAGE, typed(server, **wrong))
    assert answer.status_code == 422
    text = answer.content.decode()
    assert said in text and "fleet" in text and SECRET not in text
    assert not Storage.objects.exists() and not server.files()


def test_a_part_that_another_console_uses_is_refused(
    operator: Client, home: Path, server: ObjectServer
) -> None:
    operator.post(PAGE, typed(server))
    answer = operator.post(PAGE, typed(server, name="twice"))
    assert answer.status_code == 422 and "another Hotfleet console" in answer.content.decode()
    assert Storage.objects.count() == 1


def test_a_stranger_sees_nothing(stranger: Client, db: None) -> None:
    assert stranger.get(PAGE).status_code in (302, 404)
    assert stranger.post(PAGE, {}).status_code in (302, 403, 404)
