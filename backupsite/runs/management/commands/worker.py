"""`manage.py worker QUEUE --workers N`: a pool of workers for one queue."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from backupsite.runs import queue
from backupsite.runs.worker import RunPool


class Command(BaseCommand):
    # `serve` checks the system once for all its programs.
    requires_system_checks: list[str] = []
    help = "Works on the runs of one queue until SIGTERM, which lets every run undo its steps first."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("queue", choices=queue.NAMES)
        parser.add_argument("--workers", type=int, default=1, help="how many runs at a time (default 1)")
        parser.add_argument("--burst", action="store_true", help="end when the queue is empty")

    def handle(self, *args: Any, **options: Any) -> None:
        if not 1 <= options["workers"] <= 200:
            raise CommandError("--workers takes a number from 1 to 200.")
        RunPool(options["queue"], options["workers"]).start(burst=options["burst"], logging_level="WARNING")
