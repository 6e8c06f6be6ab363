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

from agents.commands import Secret
from backupsite import vault
from backupsite.repositories.kit_guide import write_guide, write_list
from backupsite.repositories.making import recovery_owner
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
    now = timezone.now()
    return f"""HOTFLEET RECOVERY KIT {fingerprint}
Made on {now:%Y-%m-%d} at {now:%H:%M} UTC by the console on {socket.gethostname()}.

RECOVERY PASSWORD (the dashes belong to it)

    {password}

It opens every repository of this console. Keep this page away from this machine: printed and locked away, or
in a password manager. Whoever holds it AND the repositories can read all backups. Hotfleet cannot show it
again.

{write_guide(Storage.objects.select_related("node").order_by("id"))}"""


def write_directory() -> str:
    """Return guide and list of repositories as they are now, without any secret: to lay beside the kit."""
    kit = RecoveryPassword.objects.filter(kit_confirmed_at__isnull=False).first()
    now = timezone.now()
    return f"""SHEET FOR THE HOTFLEET RECOVERY KIT {kit.fingerprint if kit is not None else ""}
Made on {now:%Y-%m-%d} at {now:%H:%M} UTC by the console on {socket.gethostname()}. It holds no secret: the
password stands in the kit itself.

{write_guide(Storage.objects.select_related("node").order_by("id"))}
{write_list()}"""


def hand_out_sheet() -> str:
    """Return `write_directory`, and note that somebody has it as of now."""
    text = write_directory()
    RecoveryPassword.objects.update(kit_downloaded_at=timezone.now())
    return text


def list_unprinted() -> list[str]:
    """Return what is not on the newest sheet that somebody took: new places, new repositories.

    Runs three queries."""
    kit = RecoveryPassword.objects.filter(kit_confirmed_at__isnull=False).first()
    if kit is None or kit.kit_downloaded_at is None:
        return []
    places = Storage.objects.filter(created_at__gt=kit.kit_downloaded_at).values_list("path", flat=True)
    count = Repository.objects.filter(created_at__gt=kit.kit_downloaded_at).count()
    words = [f"the place {place}" for place in places]
    return words + ([f"{count} {'repository' if count == 1 else 'repositories'}"] if count else [])
