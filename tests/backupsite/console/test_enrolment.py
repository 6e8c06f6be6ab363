from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from django.test import Client
from pytest_django import Settings

from agents.ssh.keys import HostKey as FoundKey
from backupsite import vault
from backupsite.accounts.models import AuditEvent
from backupsite.console.pasting import make_paste_command, make_sudoers_command
from backupsite.fleet.devices import Actor, Reach, approve_host_key, create_device, note_host_keys
from backupsite.fleet.models import Device, HostKey
from backupsite.runs.models import Run, RunCheck
from backupsite.runs.states import State
from tests.backupsite.making import make_run

pytestmark = pytest.mark.django_db
ADA = Actor("ada")
OLD, NEW, RSA = FoundKey("ssh-ed25519", b"old"), FoundKey("ssh-ed25519", b"new"), FoundKey("ssh-rsa", b"rsa")


@pytest.fixture
def device(tmp_path: Path, settings: Settings) -> Device:
    tmp_path.chmod(0o700)
    settings.HOTFLEET_HOME = tmp_path
    vault.create_keys()
    return create_device(ADA, "db-01", Reach("ssh", "10.0.0.5", 22, "root"))


def page(client: Client, part: str = "") -> str:
    return client.get(f"/devices/db-01/connect/{part}").content.decode()


def test_it_shows_the_line_to_paste_and_says_that_it_equals_root(operator: Client, device: Device) -> None:
    text = page(operator)
    assert device.ssh_key is not None
    assert device.ssh_key.public_line.split()[1] in text
    assert "permitlisten" in text and "equals root" in text
    assert "sudoers" not in text


def test_another_user_needs_the_sudo_rule(operator: Client, device: Device) -> None:
    Device.objects.update(user="backup")
    text = page(operator)
    assert "backup ALL=(root) NOPASSWD: /bin/sh" in text and "This equals root." in text


def test_the_pasted_command_adds_the_line_once_with_the_right_modes(tmp_path: Path) -> None:
    line = 'restrict,permitlisten="127.0.0.1:*" ssh-ed25519 AAAA hotfleet'
    file = tmp_path / ".ssh" / "authorized_keys"
    for _ in range(2):
        subprocess.run(["sh", "-c", make_paste_command(line)], env={"HOME": str(tmp_path)}, check=True)
    assert file.read_text().split("\n").count(line) == 1
    assert file.stat().st_mode & 0o777 == 0o600 and file.parent.stat().st_mode & 0o777 == 0o700


def test_the_pasted_command_does_not_glue_the_line_to_one_without_an_end(tmp_path: Path) -> None:
    file = tmp_path / ".ssh" / "authorized_keys"
    file.parent.mkdir()
    file.write_text("ssh-rsa OTHER")
    subprocess.run(["sh", "-c", make_paste_command("OURS")], env={"HOME": str(tmp_path)}, check=True)
    assert [text for text in file.read_text().split("\n") if text] == ["ssh-rsa OTHER", "OURS"]


def test_the_sudo_rule_is_one_that_visudo_takes(tmp_path: Path) -> None:
    command = (
        make_sudoers_command("backup")
        .replace("/root/", f"{tmp_path}/")
        .replace("/etc/sudoers.d", str(tmp_path))
    )
    # Root's own PATH on a device: another user may have none of the sbin directories on theirs.
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    subprocess.run(["sh", "-c", command], env={"PATH": path}, check=True, capture_output=True)
    assert "backup ALL=(root) NOPASSWD: /bin/sh" in (tmp_path / "hotfleet").read_text()


def test_fetching_the_host_key_is_a_run(operator: Client, device: Device) -> None:
    assert operator.post("/devices/db-01/scan/")["Location"] == "/devices/db-01/connect/"
    assert Run.objects.get().kind == Run.SCAN
    assert "Asking 10.0.0.5 for its host key" in page(operator, "?part=scan")
    operator.post("/devices/db-01/scan/")
    assert Run.objects.count() == 1, "a double click is one run"


def test_a_scan_that_failed_says_why(operator: Client, device: Device) -> None:
    make_run(
        device,
        State.FAILED,
        Run.SCAN,
        error_text="10.0.0.5 refused the connection.",
        error_remedy="Start sshd.",
    )
    text = page(operator, "?part=scan")
    assert "10.0.0.5 refused the connection. Start sshd." in text


def test_approving_starts_the_first_check(operator: Client, device: Device) -> None:
    note_host_keys(device, [OLD, RSA])
    key = device.host_keys.get(key_type="ssh-ed25519")
    text = page(operator)
    assert key.fingerprint in text and "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub" in text
    operator.post("/devices/db-01/hostkey/", {"decision": f"approve:{key.pk}"})
    key.refresh_from_db()
    assert (key.state, key.decided_by) == (HostKey.APPROVED, "ada")
    assert Run.objects.get().kind == Run.PROBE
    assert AuditEvent.objects.filter(verb="hostkey.approve").exists()


def test_a_changed_key_shows_both_and_what_it_may_mean(operator: Client, device: Device) -> None:
    note_host_keys(device, [OLD])
    approve_host_key(ADA, device.host_keys.get())
    note_host_keys(device, [NEW])
    text = page(operator)
    assert OLD.fingerprint in text and NEW.fingerprint in text
    assert "another key than the approved one" in text
    assert "SSH host key changed" in operator.get("/").content.decode()
    operator.post(
        "/devices/db-01/hostkey/",
        {"decision": f"refuse:{device.host_keys.get(fingerprint=NEW.fingerprint).pk}"},
    )
    assert device.host_keys.get(fingerprint=OLD.fingerprint).state == HostKey.APPROVED
    assert "another key than the approved one" not in page(operator)
    assert not Run.objects.exists()


@pytest.mark.parametrize(
    "decision", ["", "approve", "approve:x", "approve:-1", "trust:1", "approve:" + "9" * 40]
)
def test_a_decision_about_nothing(operator: Client, device: Device, decision: str) -> None:
    note_host_keys(device, [OLD])
    assert operator.post("/devices/db-01/hostkey/", {"decision": decision}).status_code in (400, 404)
    assert device.host_keys.get().state == HostKey.PENDING


def test_a_key_of_another_device_is_not_found(operator: Client, device: Device) -> None:
    other = create_device(ADA, "db-02", Reach("ssh", "10.0.0.6"))
    note_host_keys(other, [OLD])
    answer = operator.post("/devices/db-01/hostkey/", {"decision": f"approve:{other.host_keys.get().pk}"})
    assert answer.status_code == 404 and other.host_keys.get().state == HostKey.PENDING


def test_the_ticks_of_the_newest_check(operator: Client, device: Device) -> None:
    probe = make_run(device, State.SUCCEEDED, Run.PROBE)
    RunCheck.objects.create(
        run=probe,
        name="clock",
        state="bad",
        text="4 min <b>ahead</b>\x1b[2J",
        remedy="Set up NTP.",
        at=probe.queued_at,
    )
    RunCheck.objects.create(run=probe, name="new-thing", state="unheard-of", text="", at=probe.queued_at)
    text = page(operator, "?part=ticks")
    assert "Set up NTP." in text and "&lt;b&gt;ahead" in text and "\x1b" not in text
    assert "Mend what is red" in text and "can be backed up" not in text
    assert "tone-good" not in text, "a state that nobody knows is never good"


def test_a_good_check_leads_to_the_policy(operator: Client, device: Device) -> None:
    probe = make_run(device, State.SUCCEEDED, Run.PROBE)
    RunCheck.objects.create(run=probe, name="reached", state="good", text="in 3 ms", at=probe.queued_at)
    assert "/policies/new/?device=db-01" in page(operator, "?part=ticks")


def test_this_machine_has_only_ticks(operator: Client, device: Device) -> None:
    create_device(ADA, "console", Reach("local"))
    text = operator.get("/devices/console/connect/").content.decode()
    assert "Check now" in text and "authorized_keys" not in text and "Fetch host key" not in text
    assert operator.post("/devices/console/scan/").status_code == 404
    assert operator.post("/devices/console/check/")["Location"] == "/devices/console/connect/"


def test_who_may_and_how(operator: Client, stranger: Client, device: Device) -> None:
    assert stranger.get("/devices/db-01/connect/")["Location"].startswith("/login/")
    for name in ("scan", "check", "hostkey"):
        assert operator.get(f"/devices/db-01/{name}/").status_code == 405
        assert stranger.post(f"/devices/db-01/{name}/")["Location"].startswith("/login/")
        assert operator.post(f"/devices/nothing/{name}/").status_code == 404
    assert not Run.objects.exists()
