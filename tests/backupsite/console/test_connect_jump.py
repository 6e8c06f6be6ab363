"""The connection page of a device behind a jump host."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from django.test import Client
from pytest_django import Settings

from agents.ssh.keys import HostKey as FoundKey
from agents.ssh.keys import jump_keys_line, make_key_pair
from backupsite import vault
from backupsite.console.pasting import make_jump_paste_command, make_paste_command
from backupsite.console.standings import waiting_host_keys
from backupsite.fleet.devices import Actor, Jump, Reach, approve_host_key, create_device, note_host_keys
from backupsite.fleet.models import Device, HostKey, JumpHost
from backupsite.runs.models import Run

pytestmark = pytest.mark.django_db
ADA = Actor("ada")
OLD, NEW, OWN = (FoundKey("ssh-ed25519", blob) for blob in (b"old", b"new", b"own"))
LINE = make_key_pair("hotfleet").public_line


@pytest.fixture
def device(tmp_path: Path, settings: Settings) -> Device:
    tmp_path.chmod(0o700)
    settings.HOTFLEET_HOME = tmp_path
    vault.create_keys()
    return make_hidden("db-01", "10.0.0.5")


def make_hidden(name: str, address: str, jump: str = "gate.example.org") -> Device:
    return create_device(ADA, name, Reach("ssh", address, 22, "root", Jump(jump, 22, "pass")))


def jump_of(device: Device) -> JumpHost:
    assert device.jump_host is not None
    return device.jump_host


def page(client: Client, part: str = "") -> str:
    return client.get(f"/devices/db-01/connect/{part}").content.decode()


def decide(client: Client, key: HostKey, decision: str = "approve") -> int:
    return client.post("/devices/db-01/hostkey/", {"decision": f"{decision}:{key.pk}"}).status_code


def test_it_shows_a_line_for_each_machine_and_says_what_it_allows(operator: Client, device: Device) -> None:
    make_hidden("db-02", "10.0.0.6")
    make_hidden("far", "10.0.0.7", jump="elsewhere")
    text = page(operator)
    line = "restrict,port-forwarding,permitopen=&quot;10.0.0.5:22&quot;,permitopen=&quot;10.0.0.6:22&quot;"
    assert line in text and "10.0.0.7" not in text
    assert "run no command on it" in text and "as <strong>pass</strong>" in text
    assert "permitlisten=&quot;127.0.0.1:*&quot;" in text, "the device's own line"


def test_a_jump_host_that_is_a_device_needs_no_line(operator: Client, device: Device) -> None:
    create_device(ADA, "gate", Reach("ssh", "gate.example.org", 22, "pass"))
    text = page(operator)
    assert "jump-paste" not in text and "/devices/gate/" in text


def test_first_the_jump_hosts_key_then_the_devices(operator: Client, device: Device) -> None:
    assert "as soon as the jump host" in page(operator)
    note_host_keys(jump_of(device), [OLD])
    text = page(operator)
    assert OLD.fingerprint in text and "Run this on the jump host itself" in text
    decide(operator, jump_of(device).host_keys.get())
    assert Run.objects.get().kind == Run.SCAN, "the device is asked next"
    note_host_keys(device, [OWN])
    assert "Run this on the device itself" in page(operator) and "/db-01/check/" not in page(operator)
    Run.objects.all().delete()
    decide(operator, device.host_keys.get())
    assert Run.objects.get().kind == Run.PROBE
    assert "/db-01/check/" in page(operator)


def test_a_changed_key_of_the_jump_host_is_told_for_each_device_behind_it(
    operator: Client, device: Device
) -> None:
    second = make_hidden("db-02", "10.0.0.6")
    note_host_keys(jump_of(device), [OLD])
    assert waiting_host_keys() == {device.pk: False, second.pk: False}
    approve_host_key(ADA, jump_of(device).host_keys.get())
    assert waiting_host_keys() == {}
    note_host_keys(jump_of(device), [NEW])
    assert waiting_host_keys() == {device.pk: True, second.pk: True}
    assert waiting_host_keys([second.pk]) == {second.pk: True}
    assert "The jump host shows another key" in page(operator)
    assert "SSH host key changed" in operator.get("/").content.decode()


def test_a_key_of_another_jump_host_is_not_found(operator: Client, device: Device) -> None:
    far = make_hidden("far", "10.0.0.7", jump="elsewhere")
    note_host_keys(jump_of(far), [OLD])
    direct = create_device(ADA, "direct", Reach("ssh", "10.0.0.8"))
    note_host_keys(direct, [OWN])
    for owner in (jump_of(far), direct):
        assert decide(operator, owner.host_keys.get()) == 404
        assert owner.host_keys.get().state == HostKey.PENDING
    answer = operator.post(
        "/devices/direct/hostkey/", {"decision": f"approve:{jump_of(far).host_keys.get().pk}"}
    )
    assert answer.status_code == 404


def paste(command: str, home: Path) -> list[str]:
    subprocess.run(["sh", "-c", command], env={"HOME": str(home), "PATH": "/usr/bin:/bin"}, check=True)
    file = home / ".ssh" / "authorized_keys"
    assert file.stat().st_mode & 0o777 == 0o600 and not file.with_name("authorized_keys.new").exists()
    return [text for text in file.read_text().split("\n") if text]


def test_pasting_puts_one_line_in_the_place_of_the_older_one(tmp_path: Path) -> None:
    first, both = ["10.0.0.5:22"], ["10.0.0.5:22", "[2001:db8::1]:22"]
    assert paste(make_jump_paste_command(LINE, first), tmp_path) == [jump_keys_line(LINE, first)]
    with (tmp_path / ".ssh" / "authorized_keys").open("a") as file:
        file.write("ssh-rsa OTHER person")
    assert paste(make_jump_paste_command(LINE, both), tmp_path) == [
        "ssh-rsa OTHER person",
        jump_keys_line(LINE, both),
    ]


def test_pasting_keeps_the_line_of_a_device(tmp_path: Path) -> None:
    line = f'restrict,port-forwarding,permitlisten="127.0.0.1:*" {LINE}'
    paste(make_paste_command(line), tmp_path)
    assert paste(make_jump_paste_command(LINE, ["10.0.0.5:22"]), tmp_path) == [line]
