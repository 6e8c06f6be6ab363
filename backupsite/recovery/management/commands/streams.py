"""`manage.py streams`: the logs of databases that are followed all the time."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from backupsite.recovery.wal.keeper import run


class Command(BaseCommand):
    # `serve` checks the system once for all its programs.
    requires_system_checks: list[str] = []
    help = "Follows the logs that policies want, until SIGTERM. Several may run: each log is followed by one."

    def handle(self, *args: Any, **options: Any) -> None:
        run()
