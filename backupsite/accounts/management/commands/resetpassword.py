"""`manage.py resetpassword NAME`: for the administrator who has the shell and lost the password."""

from __future__ import annotations

import getpass
from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from backupsite.accounts import throttle
from backupsite.accounts.audit import record
from backupsite.accounts.models import User
from backupsite.accounts.signing import end_sessions


class Command(BaseCommand):
    help = "Set a new password for a person, end their sessions, and let them sign in again at once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name")
        parser.add_argument(
            "--administrator", action="store_true", help="make the person an administrator too"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(name=options["name"]).first()
        if user is None:
            names = (
                ", ".join(User.objects.order_by("name").values_list("name", flat=True)[:20]) or "nobody yet"
            )
            raise CommandError(f"nobody is called {options['name']!r}. There is: {names}")
        password = self._ask(user)
        with transaction.atomic():
            user.set_password(password)
            user.is_active = True
            user.is_superuser = user.is_superuser or options["administrator"]
            user.save()
            end_sessions(user)
            throttle.forget_everything()
            record("shell", "password.reset", user.name, {"administrator": user.is_superuser})
        self.stdout.write(f"{user.name} has a new password; their sessions are ended.")

    def _ask(self, user: User) -> str:
        password = getpass.getpass("New password: ")
        if getpass.getpass("Again: ") != password:
            raise CommandError("the two do not match; nothing was changed")
        try:
            validate_password(password, user)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        return password
