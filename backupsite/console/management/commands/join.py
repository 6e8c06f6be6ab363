"""`manage.py join`: this machine becomes a node by what `manage.py node add` printed, read from stdin."""

from __future__ import annotations

import os
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from agents.errors import AgentError
from backupsite import environment
from backupsite.console import nodes_joining


class Command(BaseCommand):
    # There are no keys yet, which the checks ask for.
    requires_system_checks: list[str] = []
    help = "Makes an empty HOTFLEET_HOME a node's; with --claim takes its place and adds its storages."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--claim", action="store_true", help="the second step, with the database")
        parser.add_argument("--storage", action="append", default=[], help="a directory for backups here")

    def handle(self, *args: Any, **options: Any) -> None:
        os.umask(0o077)
        problem = environment.home_problem(settings.HOTFLEET_HOME)
        if problem:
            raise CommandError(problem)
        try:
            if options["claim"]:
                nodes_joining.claim(options["storage"])
            else:
                name = nodes_joining.join(sys.stdin.read(), settings.HOTFLEET_HOME)
                self.stdout.write(f"This machine is the node {name}.")
        except AgentError as error:
            raise CommandError(" ".join(filter(None, (error.message, error.remedy)))) from error
