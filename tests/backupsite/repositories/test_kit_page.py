"""The sheet beside the kit: what it says, and when it is out of date."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from backupsite.accounts.models import User
from backupsite.fleet.models import Device
from backupsite.repositories.kit import confirm_kit, list_unprinted, make_kit, write_directory
from backupsite.repositories.making import ensure_repository, first_node, open_repository
from backupsite.repositories.models import Node, RecoveryPassword, Repository, Storage
from tests.backupsite.repositories.kits import read_password

pytestmark = pytest.mark.django_db


@pytest.fixture
def password(storage: Storage) -> str:
    """A confirmed kit's password."""
    found = read_password(make_kit().text)
    assert confirm_kit(found[-4:])
    return found


def test_it_names_each_device_its_repository_and_its_size(password: str, device: Device) -> None:
    repository = ensure_repository(device)
    Repository.objects.update(restic_id="c0ffee" * 10, used_bytes=3_000_000, measured_at=timezone.now())
    text = write_directory()
    assert "db-01: 3.0\xa0MB, restic's id c0ffeec0ff" in text
    assert f"restic -r {repository.storage.path}/{repository.uuid} " in text
    assert password not in text and open_repository(repository).password.reveal() not in text


def test_an_object_store_is_described_without_its_secret(password: str) -> None:
    Storage.objects.create(
        node=first_node(), name="far", kind=Storage.S3, path="s3:far", endpoint="https://s3.example.org",
        bucket="backups", account="AKIA", sealed_secret=b"sealed",
    )  # fmt: skip
    text = write_directory()
    assert (
        "S3 or compatible, https://s3.example.org, backups, account AKIA. Its secret is not in this kit"
        in text
    )
    assert "sealed" not in text


def test_what_lies_on_a_node_is_named_with_its_machine(
    password: str, device: Device, storage: Storage
) -> None:
    ensure_repository(device)
    cellar = Node.objects.create(slug="cellar", name="cellar", machine="cellar-2")
    Storage.objects.filter(pk=storage.pk).update(node=cellar)
    Storage.objects.create(node=first_node(), name="near", path="/srv/near", marker="near")
    text = write_directory()
    assert text.count("on the node cellar (machine cellar-2)") == 2, "the place, and the device's repository"
    assert "--recover /srv/near" in text, "the console's own copies lie on its own machine"


def test_what_came_after_it_was_taken_makes_it_out_of_date(
    operator: Client, password: str, device: Device
) -> None:
    RecoveryPassword.objects.update(kit_downloaded_at=timezone.now() + timedelta(seconds=1))
    assert list_unprinted() == []
    assert "out of date" not in operator.get("/repositories/").content.decode()
    RecoveryPassword.objects.update(kit_downloaded_at=timezone.now() - timedelta(days=1))
    ensure_repository(device)
    text = operator.get("/repositories/kit/").content.decode()
    assert "out of date" in text and "1 repository" in text
    answer = operator.post("/repositories/kit/")
    assert "attachment" in answer["Content-Disposition"] and b"RESTORE WITHOUT HOTFLEET" in answer.content
    assert list_unprinted() == []


def test_a_hostile_name_stays_text(operator: Client, password: str, device: Device) -> None:
    Device.objects.update(name="<b>\x1b[2J")
    ensure_repository(device)
    text = operator.get("/repositories/kit/").content.decode()
    assert "<b>" not in text and "\x1b" not in text


def test_a_stranger_sees_nothing(stranger: Client, person: User) -> None:
    assert "/login/" in stranger.get("/repositories/kit/")["Location"]
    assert "/login/" in stranger.post("/repositories/kit/")["Location"]
