"""The kit is the promise that everything can be restored without Hotfleet: its own commands run here."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from agents.commands import Secret
from agents.restic.binary import find_binary
from agents.restic.repository import create
from backupsite.fleet.models import Device
from backupsite.repositories.kit import (
    KitConfirmed,
    confirm_kit,
    make_kit,
    make_password_text,
    write_directory,
)
from backupsite.repositories.making import (
    SetupIncomplete,
    ensure_repository,
    open_repository,
    recovery_password,
)
from backupsite.repositories.models import RecoveryPassword, Repository, Storage

pytestmark = [pytest.mark.django_db, pytest.mark.postgresql]
PASSWORD = re.compile(r"^    ((?:[A-Z2-7]{5}-){7}[A-Z2-7]{5})$", re.M)


def read_password(text: str) -> str:
    found = PASSWORD.search(text)
    assert found is not None
    return found[1]


def test_the_password_has_200_random_bits() -> None:
    assert len({make_password_text() for _ in range(50)}) == 50
    assert len(make_password_text().replace("-", "")) == 40


def test_the_database_never_holds_it_in_the_clear(storage: Storage) -> None:
    password = read_password(make_kit().text)
    row = RecoveryPassword.objects.get()
    assert password.encode() not in bytes(row.sealed_password)
    assert password[-4:] not in row.ending_hash


def test_no_backup_is_made_before_somebody_has_the_kit(storage: Storage) -> None:
    with pytest.raises(SetupIncomplete):
        recovery_password()
    password = read_password(make_kit().text)
    with pytest.raises(SetupIncomplete):
        recovery_password()
    assert not confirm_kit("AAAA" if password[-4:] != "AAAA" else "BBBB")
    assert confirm_kit(f" {password[-4:].lower()} ")
    assert recovery_password() == Secret(password)
    assert RecoveryPassword.objects.get().ending_hash == ""


def test_a_lost_kit_is_replaced_until_one_is_confirmed(storage: Storage) -> None:
    first, second = (read_password(make_kit().text) for _ in range(2))
    assert RecoveryPassword.objects.count() == 1
    if first[-4:] != second[-4:]:
        assert not confirm_kit(first[-4:])
    assert confirm_kit(second[-4:])
    with pytest.raises(KitConfirmed):
        make_kit()


def test_the_commands_of_the_kit_restore_with_stock_restic(
    storage: Storage, device: Device, tmp_path: Path
) -> None:
    kit = make_kit().text
    password = read_password(kit)
    confirm_kit(password[-4:])
    opened = open_repository(ensure_repository(device))
    binary = find_binary([Path(sys.executable).parent / "restic"])
    create(opened.path, opened.password, recovery_password(), binary)
    (tmp_path / "letter").write_text("dear diary")
    restic = ["restic", "-r", str(opened.path)]
    subprocess.run(
        [*restic, "backup", "-q", str(tmp_path / "letter")],
        env={
            "RESTIC_PASSWORD": opened.password.reveal(),
            "PATH": str(binary.path.parent),
            "HOME": str(tmp_path),
        },
        check=True,
    )
    (tmp_path / "recovery-password").write_text(password + "\n")
    environment = {"PATH": f"{binary.path.parent}:/usr/bin:/bin", "HOME": str(tmp_path)}

    def shell(line: str) -> str:
        done = subprocess.run(
            ["sh", "-ec", line], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    listing = shell(next(line.strip() for line in kit.splitlines() if line.strip().startswith("for d in")))
    assert str(opened.path) in listing and str(tmp_path / "letter") in listing
    found = re.search(r"^([0-9a-f]{8}) ", listing, re.M)
    assert found is not None
    line = next(line.strip() for line in kit.splitlines() if line.strip().startswith("restic -r DIRECTORY"))
    line = line.replace("DIRECTORY", str(opened.path)).replace(" ID ", f" {found[1]} ")
    shell(line.replace("/srv/restored", str(tmp_path / "restored")))
    assert (tmp_path / "restored" / str(tmp_path).lstrip("/") / "letter").read_text() == "dear diary"
    password_file = f"--password-file {tmp_path}/recovery-password"
    shell(
        f"echo all of it | restic -r {opened.path} {password_file} backup --stdin --stdin-filename base.tar"
    )
    line = next(line.strip() for line in kit.splitlines() if " dump ID " in line)
    newest = shell(f"restic -r {opened.path} {password_file} snapshots --latest 1 --path /base.tar")
    found = re.search(r"^([0-9a-f]{8}) ", newest, re.M)
    assert found is not None
    line = line.replace("DIRECTORY", str(opened.path)).replace(" ID ", f" {found[1]} ")
    shell(line.replace("FILE", "base.tar"))
    assert (tmp_path / "base.tar").read_text() == "all of it\n"


def test_the_list_of_repositories_holds_no_secret(storage: Storage, device: Device) -> None:
    opened = open_repository(ensure_repository(device))
    text = write_directory()
    assert "db-01" in text and str(opened.path) in text
    assert opened.password.reveal() not in text


def test_a_device_gets_one_repository(storage: Storage, device: Device) -> None:
    first = ensure_repository(device)
    assert ensure_repository(device) == first
    assert open_repository(first).password == open_repository(first).password
    assert Repository.objects.count() == 1


def test_without_a_storage_there_is_no_repository(device: Device) -> None:
    with pytest.raises(SetupIncomplete):
        ensure_repository(device)
