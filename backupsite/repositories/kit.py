"""The recovery kit: one password that opens every repository, and how to restore with restic alone.

The web process has the password in the clear only inside `make_kit`, for the one answer that carries it. A
kit that was lost before it was confirmed is replaced by a new one; a confirmed one cannot be shown again.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import socket
from dataclasses import dataclass

from django.contrib.auth.hashers import check_password, make_password
from django.db import transaction
from django.utils import timezone

from agents.commands import Secret, quote
from backupsite import vault
from backupsite.repositories.making import recovery_owner, repository_path
from backupsite.repositories.models import RecoveryPassword, Repository, Storage

ENDING_LENGTH = 4


class KitConfirmed(Exception):
    """The kit is confirmed: repositories carry its password, so it is never replaced."""


@dataclass(frozen=True)
class Kit:
    """A kit to hand out once."""

    fingerprint: str
    text: str


def make_password_text() -> str:
    """Return a new password: 200 random bits as 8 groups of 5 letters and digits, the dashes part of it."""
    letters = base64.b32encode(secrets.token_bytes(25)).decode("ascii")
    return "-".join(letters[start : start + 5] for start in range(0, 40, 5))


def make_kit() -> Kit:
    """Make a new recovery password, replacing one that nobody confirmed. Raise KitConfirmed after that."""
    password = make_password_text()
    with transaction.atomic():
        # Locked, so that a confirmation at the same moment cannot be for the password that goes.
        rows = list(RecoveryPassword.objects.select_for_update())
        if any(row.kit_confirmed_at is not None for row in rows):
            raise KitConfirmed
        RecoveryPassword.objects.all().delete()
        row = RecoveryPassword(
            fingerprint=hashlib.sha256(password.encode()).hexdigest()[:8],
            ending_hash=make_password(password[-ENDING_LENGTH:]),
            kit_downloaded_at=timezone.now(),
        )
        row.sealed_password = vault.seal(recovery_owner(row), Secret(password))
        row.save(force_insert=True)
    return Kit(row.fingerprint, write_kit(password, row.fingerprint))


def confirm_kit(typed: str) -> bool:
    """Given the last characters as somebody typed them, return True when they are the newest kit's."""
    with transaction.atomic():
        row = RecoveryPassword.objects.select_for_update().order_by("id").last()
        if row is None or not row.ending_hash:
            return False
        if not check_password(typed.strip().upper(), row.ending_hash):
            return False
        # From here on nothing of the password is left in the clear or as a hash.
        row.ending_hash, row.kit_confirmed_at = "", timezone.now()
        row.save(update_fields=["ending_hash", "kit_confirmed_at"])
    return True


def write_kit(password: str, fingerprint: str) -> str:
    """Given the password, return the kit as plain text: it can be printed, and read on any machine."""
    places = [storage.path for storage in Storage.objects.order_by("id")]
    now = timezone.now()
    return f"""HOTFLEET RECOVERY KIT {fingerprint}
Made on {now:%Y-%m-%d} at {now:%H:%M} UTC by the console on {socket.gethostname()}.

RECOVERY PASSWORD (the dashes belong to it)

    {password}

It opens every repository of this console. Keep this page away from this machine: printed and locked away, or
in a password manager. Whoever holds it AND the repositories can read all backups. Hotfleet cannot show it
again.

RESTORE WITHOUT HOTFLEET

1. Install restic 0.18 or newer (https://restic.net) on any Linux machine.
2. Make the backups readable there: mount their disk. They lie in
{"".join(f"       {place}" + chr(10) for place in places)}\
   with one directory for each device.
3. Put the password into a file. Type this, paste the password, press Enter and then Ctrl-D:
       umask 077; cat > recovery-password
4. See what there is. Each list names the device, the time and the folders:
{"".join(f"       {_list_all(place)}" + chr(10) for place in places)}\
5. Restore one restore point. DIRECTORY is the device's, ID stands in the list of step 4:
       restic -r DIRECTORY --no-lock --password-file recovery-password restore ID --target /srv/restored
   Only one folder of it: write ID:/the/folder instead of ID.
6. Delete the file with the password: rm recovery-password
"""


def _list_all(place: str) -> str:
    return (
        f'for d in {quote(place)}/*-*-*-*-*; do echo "$d"; '
        'restic -r "$d" --no-lock --password-file recovery-password snapshots; done'
    )


def write_directory() -> str:
    """Return the list of repositories with their commands, without any secret: to lay beside the kit."""
    lines = ["Repositories of this Hotfleet console. The password is in the recovery kit.", ""]
    for repository in Repository.objects.select_related("device", "storage").order_by("device__name"):
        path = quote(str(repository_path(repository)))
        options = f"restic -r {path} --no-lock --password-file recovery-password"
        lines += [f"{repository.owner.name}", f"    {options} snapshots"]
        lines += [f"    {options} restore ID --target /srv/restored", ""]
    return "\n".join(lines) + "\n"
