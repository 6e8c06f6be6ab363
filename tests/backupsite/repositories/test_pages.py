"""The page of the repositories."""

from __future__ import annotations

import shutil

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from backupsite.fleet.models import Device
from backupsite.repositories.making import ensure_repository, measure_repository, open_repository
from backupsite.repositories.models import Repository, Storage
from tests.backupsite.making import make_device, repository_of

pytestmark = pytest.mark.django_db


def test_a_stranger_is_sent_away(stranger: Client, storage: Storage) -> None:
    for path in ("/repositories/", "/repositories/list.txt"):
        assert stranger.get(path).status_code == 302


def test_it_shows_the_real_space_and_each_repository(
    operator: Client, storage: Storage, device: Device
) -> None:
    repository = ensure_repository(device)
    text = operator.get("/repositories/").content.decode()
    assert storage.path in text and str(repository.uuid) in text
    assert "not measured yet" in text
    opened = open_repository(repository)
    opened.path.mkdir()
    (opened.path / "pack").write_bytes(b"x" * 100_000)
    measure_repository(repository)
    assert Repository.objects.get().used_bytes >= 100_000
    assert "not measured yet" not in operator.get("/repositories/").content.decode()


def test_it_says_when_the_disk_is_gone(operator: Client, storage: Storage) -> None:
    shutil.rmtree(storage.path)
    assert "is not there" in operator.get("/repositories/").content.decode()


def test_it_is_never_changed_by_a_post(operator: Client) -> None:
    assert operator.post("/repositories/").status_code == 405


def test_a_hostile_name_is_escaped(operator: Client, storage: Storage, device: Device) -> None:
    Device.objects.update(name="<script>alert(1)</script>")
    ensure_repository(device)
    assert "<script>alert" not in operator.get("/repositories/").content.decode()


def test_its_number_of_queries_does_not_grow(
    operator: Client, storage: Storage, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(30):
        ensure_repository(Device.objects.create(slug=f"web-{number}", name=f"web-{number}"))
    # session, person, storages, default, repositories, four for space, own copies, kit, sheet
    with django_assert_num_queries(13):
        operator.get("/repositories/")


def test_a_thousand_repositories_come_in_pages(operator: Client) -> None:
    first = repository_of(make_device("db-000"))
    for number in range(1, 60):
        device = make_device(f"db-{number:03}")
        Repository.objects.create(device=device, storage=first.storage, sealed_password=b"")
    page = operator.get("/repositories/").content.decode()
    assert "1 to 50 of 60" in page
    assert "db-049" in page
    assert "db-050" not in page
    assert "db-059" in operator.get("/repositories/?page=2").content.decode()
