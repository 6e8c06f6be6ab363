"""Which storage takes the repositories of new devices."""

from __future__ import annotations

import pytest
from django.test import Client

from backupsite.accounts.models import AuditEvent
from backupsite.fleet.models import Device
from backupsite.repositories.default_storage import find_default, make_default
from backupsite.repositories.making import SetupIncomplete, ensure_repository, first_node
from backupsite.repositories.models import Node, Storage

pytestmark = pytest.mark.django_db


@pytest.fixture
def other(storage: Storage) -> Storage:
    """A storage that was added later, for second copies."""
    return Storage.objects.create(node=storage.node, name="<b>other", path="/srv/other", marker="other")


def test_a_storage_that_is_added_later_takes_no_new_device(
    storage: Storage, other: Storage, device: Device
) -> None:
    assert find_default() == storage
    assert ensure_repository(device).storage == storage


def test_one_button_changes_it_and_what_exists_stays(
    operator: Client, storage: Storage, other: Storage, device: Device
) -> None:
    before = ensure_repository(device)
    page = operator.get("/repositories/").content.decode()
    assert f"/repositories/storages/{other.pk}/default/" in page
    assert f"/repositories/storages/{storage.pk}/default/" not in page, "it is the default already"
    answer = operator.post(f"/repositories/storages/{other.pk}/default/", follow=True)
    assert "New devices get their repository in" in answer.content.decode()
    assert "<b>other" not in answer.content.decode()
    newer = Device.objects.create(slug="db-02", name="db-02")
    assert ensure_repository(newer).storage == other
    before.refresh_from_db()
    assert before.storage == storage
    assert AuditEvent.objects.get(verb="storage.default").subject == "/srv/other"


def test_one_is_marked_and_marking_it_again_changes_nothing(storage: Storage, other: Storage) -> None:
    assert make_default("ada", storage)
    assert make_default("ada", other)
    assert not make_default("ada", other)
    assert list(Storage.objects.filter(is_default=True)) == [other]
    assert AuditEvent.objects.filter(verb="storage.default").count() == 2


def test_who_adds_a_device_sees_it(operator: Client, storage: Storage, other: Storage) -> None:
    text = operator.get("/devices/new/").content.decode()
    assert storage.path in text and other.path not in text


def test_a_stranger_and_a_get_change_nothing(stranger: Client, operator: Client, other: Storage) -> None:
    path = f"/repositories/storages/{other.pk}/default/"
    assert stranger.post(path).status_code == 302
    assert operator.get(path).status_code == 405
    assert operator.post("/repositories/storages/99999/default/").status_code == 404
    assert not Storage.objects.filter(is_default=True).exists()


def test_the_machine_of_the_console_never_gets_a_place_on_another_one(storage: Storage) -> None:
    own = Device.objects.create(name="own", slug="own", reach=Device.LOCAL)
    cellar = Node.objects.create(slug="cellar", name="cellar")
    far = Storage.objects.create(node=cellar, name="far", path="/srv/far", marker="far")
    make_default("ada", far)
    Storage.objects.filter(pk=storage.pk).update(node=cellar)
    with pytest.raises(SetupIncomplete, match="lie on other nodes"):
        ensure_repository(own)
    Storage.objects.filter(pk=storage.pk).update(node=first_node())
    assert ensure_repository(own).storage == storage
