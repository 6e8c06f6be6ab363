from __future__ import annotations

import pytest

from agents.ssh.keys import HostKey as FoundKey
from backupsite import vault
from backupsite.accounts.models import AuditEvent
from backupsite.fleet.devices import (
    Actor,
    DeviceInUse,
    Reach,
    approve_host_key,
    change_device,
    console_ssh_key,
    create_device,
    note_host_keys,
    private_key_owner,
    refuse_host_key,
    remove_device,
)
from backupsite.fleet.models import Device, HostKey, SshKey
from tests.backupsite.making import make_device, repository_of

pytestmark = pytest.mark.django_db
ADA = Actor("ada", "192.0.2.9")
OLD, NEW = FoundKey("ssh-ed25519", b"old"), FoundKey("ssh-ed25519", b"new")


def states(device: Device) -> dict[str, str]:
    return dict(device.host_keys.values_list("fingerprint", "state"))


def test_the_console_has_one_key_and_only_workers_open_it() -> None:
    key = console_ssh_key()
    assert console_ssh_key() == key and SshKey.objects.count() == 1
    assert key.public_line.startswith("ssh-ed25519 ")
    assert b"PRIVATE" not in bytes(key.sealed_private_key)
    opened = vault.unseal(private_key_owner(key), key.sealed_private_key).reveal()
    assert "OPENSSH PRIVATE KEY" in opened
    with pytest.raises(vault.VaultError):
        vault.unseal("fleet.SshKey:999:sealed_private_key", key.sealed_private_key)


def test_adding_a_device_leaves_a_trace() -> None:
    device = create_device(ADA, "DB 01", Reach("ssh", "10.0.0.5", 2222, "backup"))
    assert (device.slug, device.port, device.user) == ("db-01", 2222, "backup")
    assert device.ssh_key == console_ssh_key()
    event = AuditEvent.objects.get()
    assert (event.actor, event.verb, event.address) == ("ada", "device.add", "192.0.2.9")


def test_this_machine_has_no_key() -> None:
    device = create_device(ADA, "console", Reach("local"))
    assert device.ssh_key is None and device.address == ""


def test_found_keys_wait_and_an_approved_one_stays() -> None:
    device = make_device()
    assert note_host_keys(device, [OLD]) == 1
    assert approve_host_key(ADA, device.host_keys.get())
    assert note_host_keys(device, [OLD]) == 0
    assert states(device) == {OLD.fingerprint: "approved"}


def test_a_changed_key_waits_beside_the_old_and_replaces_it_only_when_approved() -> None:
    device = make_device()
    note_host_keys(device, [OLD])
    approve_host_key(ADA, device.host_keys.get())
    assert note_host_keys(device, [NEW]) == 1
    assert states(device) == {OLD.fingerprint: "approved", NEW.fingerprint: "pending"}
    assert approve_host_key(ADA, device.host_keys.get(fingerprint=NEW.fingerprint))
    assert states(device) == {OLD.fingerprint: "retired", NEW.fingerprint: "approved"}


def test_a_refused_key_is_not_trusted_and_asks_again_when_shown_again() -> None:
    device = make_device()
    note_host_keys(device, [NEW])
    key = device.host_keys.get()
    assert refuse_host_key(ADA, key)
    assert states(device) == {NEW.fingerprint: "retired"}
    assert not approve_host_key(ADA, key), "decided already"
    assert states(device) == {NEW.fingerprint: "retired"}
    note_host_keys(device, [NEW])
    assert states(device) == {NEW.fingerprint: "pending"}


def test_another_address_loses_the_approval() -> None:
    device = make_device()
    note_host_keys(device, [OLD])
    approve_host_key(ADA, device.host_keys.get())
    change_device(ADA, device, "db-01", Reach("ssh", device.address, device.port, "backup"))
    assert device.host_keys.get().state == HostKey.APPROVED
    change_device(ADA, device, "db-01", Reach("ssh", "10.0.0.99", 22, "backup"))
    assert device.host_keys.get().state == HostKey.RETIRED


def test_a_device_with_a_repository_stays() -> None:
    device = make_device()
    repository_of(device)
    with pytest.raises(DeviceInUse):
        remove_device(ADA, device)
    assert Device.objects.filter(slug="db-01").exists()
    assert not AuditEvent.objects.exists()
