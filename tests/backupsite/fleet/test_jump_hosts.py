from __future__ import annotations

import pytest
from django.db import IntegrityError, transaction
from django.test import Client

from agents.ssh.keys import HostKey as FoundKey
from backupsite.accounts.models import AuditEvent
from backupsite.fleet.devices import (
    Actor,
    Jump,
    Reach,
    approve_host_key,
    change_device,
    create_device,
    note_host_keys,
    remove_device,
)
from backupsite.fleet.forms import DeviceForm
from backupsite.fleet.jump_hosts import find_twin, list_endpoints
from backupsite.fleet.models import Device, HostKey, JumpHost
from backupsite.fleet.sessions import target_of
from tests.backupsite import hostile
from tests.backupsite.making import make_device

pytestmark = pytest.mark.django_db
ADA = Actor("ada")
GATE = Jump("gate.example.org", 22, "pass")
KEY, OTHER = FoundKey("ssh-ed25519", b"one"), FoundKey("ssh-ed25519", b"other")
GOOD = {
    "reach": "ssh", "name": "db-01", "address": "10.0.0.5", "port": "22", "user": "root",
    "has_jump_host": "on", "jump_address": "Gate.example.org.", "jump_port": "22", "jump_user": "pass",
}  # fmt: skip


def make_hidden(name: str = "db-01", address: str = "10.0.0.5", port: int = 22, jump: Jump = GATE) -> Device:
    return create_device(ADA, name, Reach("ssh", address, port, "root", jump))


def errors_of(**changes: str) -> list[str]:
    return list(DeviceForm({**GOOD, **changes}).errors)


def test_devices_share_a_jump_host_and_its_keys() -> None:
    first, second = make_hidden(), make_hidden("db-02", "10.0.0.6", 2222)
    assert first.jump_host is not None and first.jump_host == second.jump_host
    note_host_keys(first.jump_host, [KEY])
    assert approve_host_key(ADA, first.jump_host.host_keys.get())
    way = target_of(second).through
    assert way is not None and way.host_keys == (KEY,)
    assert list_endpoints(first.jump_host) == ["10.0.0.5:22", "10.0.0.6:2222"]
    detail = AuditEvent.objects.filter(verb="device.add").first()
    assert detail is not None and "pass@gate.example.org" in str(detail.detail)


def test_a_jump_host_goes_with_its_last_device() -> None:
    first, second = make_hidden(), make_hidden("db-02", "10.0.0.6")
    remove_device(ADA, first)
    assert JumpHost.objects.count() == 1
    change_device(ADA, second, "db-02", Reach("ssh", "10.0.0.6", 22, "root"))
    assert not JumpHost.objects.exists()
    second.refresh_from_db()
    assert second.jump_host is None


def test_another_jump_host_asks_for_the_devices_key_again() -> None:
    device = make_hidden()
    note_host_keys(device, [KEY])
    approve_host_key(ADA, device.host_keys.get())
    same_place = Reach("ssh", "10.0.0.5", 22, "root", Jump("gate.example.org", 22, "another"))
    change_device(ADA, device, "db-01", same_place)
    assert device.host_keys.get().state == HostKey.APPROVED, "another user of it is no other way"
    change_device(ADA, device, "db-01", Reach("ssh", "10.0.0.5", 22, "root", Jump("gate2", 22, "pass")))
    assert device.host_keys.get().state == HostKey.RETIRED


def test_approving_a_key_of_the_jump_host_leaves_the_devices_alone() -> None:
    device = make_hidden()
    assert device.jump_host is not None
    for owner in (device, device.jump_host):
        note_host_keys(owner, [KEY])
        approve_host_key(ADA, owner.host_keys.get())
    note_host_keys(device.jump_host, [OTHER])
    approve_host_key(ADA, device.jump_host.host_keys.get(fingerprint=OTHER.fingerprint))
    assert device.host_keys.get().state == HostKey.APPROVED
    assert device.jump_host.host_keys.get(fingerprint=KEY.fingerprint).state == HostKey.RETIRED
    assert AuditEvent.objects.filter(subject="jump host pass@gate.example.org").count() == 2


def test_a_host_key_belongs_to_one_of_them() -> None:
    device = make_hidden()
    for owners in ({}, {"device": device, "jump_host": device.jump_host}):
        with pytest.raises(IntegrityError), transaction.atomic():
            HostKey.objects.create(key_type="ssh-ed25519", blob=b"x", fingerprint="x", **owners)


def test_a_jump_host_that_is_a_device_itself_is_known() -> None:
    device = make_hidden()
    assert device.jump_host is not None and find_twin(device.jump_host) is None
    gate = make_device("gate", address="Gate.example.org", user="root")
    assert find_twin(device.jump_host) is None, "another user has other keys"
    Device.objects.filter(pk=gate.pk).update(user="pass")
    assert find_twin(device.jump_host) == gate


def test_the_form_reads_a_jump_host() -> None:
    form = DeviceForm(GOOD)
    assert form.is_valid() and form.reach_value.jump == GATE
    without = DeviceForm({**{name: text for name, text in GOOD.items() if name != "has_jump_host"}})
    assert without.is_valid() and without.reach_value.jump is None


@pytest.mark.parametrize("address", hostile.ADDRESSES + hostile.SHELL + hostile.MARKUP)
def test_it_refuses_bad_addresses_of_a_jump_host(address: str) -> None:
    assert errors_of(jump_address=address) == ["jump_address"]


def test_it_refuses_other_bad_jump_hosts_at_their_field() -> None:
    assert errors_of(jump_user="") == ["jump_user"] and errors_of(jump_user="-oProxyCommand=x") == [
        "jump_user"
    ]
    assert errors_of(jump_port="0") == ["jump_port"] and errors_of(jump_port="x") == ["jump_port"]
    assert errors_of(jump_address="10.0.0.5") == ["jump_address"], "the device itself"
    assert errors_of(jump_address="0.0.0.0") == ["jump_address"]


def test_behind_a_jump_host_the_same_address_is_another_machine() -> None:
    make_device("db-00", address="10.0.0.5")
    assert errors_of() == []
    assert errors_of(address="127.0.0.1") == [], "the jump host's own loopback"
    make_hidden("db-02")
    assert errors_of() == ["address"]


def test_its_fields_keep_what_was_typed_and_stored(operator: Client) -> None:
    answer = operator.post("/devices/new/", {**GOOD, "jump_port": "70000"})
    text = answer.content.decode()
    assert answer.status_code == 422 and 'value="70000"' in text and 'value="Gate.example.org."' in text
    assert operator.post("/devices/new/", GOOD)["Location"] == "/devices/db-01/connect/"
    text = operator.get("/devices/db-01/edit/").content.decode()
    assert 'value="gate.example.org"' in text and 'value="pass"' in text and "checked" in text
    moved = {name: text for name, text in GOOD.items() if name not in ("reach", "has_jump_host")}
    assert operator.post("/devices/db-01/edit/", moved)["Location"] == "/devices/db-01/connect/"
    assert Device.objects.get().jump_host is None
