"""`manage.py recover DIRECTORY`: bring a lost console back from its backups and the recovery kit."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from agents.commands import Secret
from agents.errors import AgentError
from backupsite import environment
from backupsite.console.recovering import Recovered, recover


class Command(BaseCommand):
    help = "Recover a lost console into an empty home. Asks for the recovery kit's password, or reads stdin."
    # There are no keys yet, which the checks ask for.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("directory", help="the place for backups: it holds the folder “console”")

    def handle(self, *args: Any, **options: Any) -> None:
        os.umask(0o077)
        problem = environment.home_problem(settings.HOTFLEET_HOME)
        if problem:
            raise CommandError(problem)
        if not options["directory"].startswith("/"):
            raise CommandError("Write the whole path of the place for backups, beginning with /.")
        try:
            found = recover(Path(options["directory"]).resolve(), self._ask(), self.stdout.write)
        except AgentError as error:
            raise CommandError(
                "\n".join(filter(None, (error.message, error.remedy, error.detail)))
            ) from error
        except OSError as error:
            raise CommandError(f"The console cannot be recovered: {error}") from error
        self._tell(found)

    def _ask(self) -> Secret:
        if sys.stdin.isatty():
            typed = getpass.getpass("Password in the recovery kit (it is not shown): ")
        else:
            typed = sys.stdin.readline()
        if not typed.strip():
            raise CommandError("No password was given.")
        return Secret(typed.strip().upper())

    def _tell(self, found: Recovered) -> None:
        self.stdout.write(f"Recovered into {settings.HOTFLEET_HOME}. {found.repositories} repositories open.")
        for sentence in found.missing:
            self.stdout.write(f"MISSING: {sentence}")
        self.stdout.write(
            f"What was decided after {found.made_at:%Y-%m-%d %H:%M} UTC is not in it; restore points made "
            "since are in their repositories, and restic lists them.\n"
            "Everybody signs in again. All schedules are paused until you confirm, on the first page, that "
            "the old console is off."
        )
