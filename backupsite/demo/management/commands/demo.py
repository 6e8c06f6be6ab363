"""`manage.py demo`: make the demo's fleet anew in a home of its own, and say how to sign in."""

from __future__ import annotations

import os
import secrets
from argparse import ArgumentParser

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.utils import timezone

from backupsite import vault
from backupsite.accounts.models import User
from backupsite.demo import marking
from backupsite.demo.seeding import seed

USER = "demo"
LARGEST = 20_000
# Beyond so many devices their past is shorter, so that it is there within some minutes.
FEW, DAYS, DAYS_OF_MANY = 500, 175, 10


class Command(BaseCommand):
    help = "Fills this home, which must be empty or a demo's, with a fleet that does not exist."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--size", type=int, default=128, help="how many devices (default 128)")

    def handle(self, *args: object, size: int, **options: object) -> None:
        os.umask(0o077)
        if not 1 <= size <= LARGEST:
            raise CommandError(f"--demo-size is {size}; write a number from 1 to {LARGEST}.")
        try:
            marking.claim(settings.HOTFLEET_HOME, settings.DATABASE_URL)
        except marking.NotADemoError as error:
            raise CommandError(str(error)) from error
        self._say(f"Making a demo of {size} devices and their past ...")
        connection.close()
        for ending in ("", "-wal", "-shm"):
            (settings.HOTFLEET_HOME / f"hotfleet.sqlite3{ending}").unlink(missing_ok=True)
        vault.create_keys()
        call_command("migrate", interactive=False, verbosity=0)
        folder = settings.HOTFLEET_HOME / "backups"
        folder.mkdir(mode=0o700, exist_ok=True)
        seed(timezone.now(), size, folder, DAYS if size <= FEW else DAYS_OF_MANY)
        password = secrets.token_urlsafe(9)
        User.objects.create_user(USER, password, is_superuser=True)
        self._say(f"Sign in as “{USER}” with the password {password}")

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()
