"""`manage.py tick`: what has to happen by itself, every ten seconds."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from backupsite.runs.tick import name_holder, release, run, tick


class Command(BaseCommand):
    # `serve` checks the system once for all its programs.
    requires_system_checks: list[str] = []
    help = "Starts what is due and ends what was lost, until SIGTERM. Several may run: one of them works."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="tick once and end")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["once"]:
            tick(name_holder())
            release(name_holder())
        else:
            run()
