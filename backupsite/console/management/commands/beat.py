"""`manage.py beat`: says that this node is there, until SIGTERM."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from backupsite.console import nodes_heard
from backupsite.repositories.nodes import NotThisNode


class Command(BaseCommand):
    # `work` checks the system once for all its programs.
    requires_system_checks: list[str] = []
    help = "Says every ten seconds that this node is there, and measures its storages once a day."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            nodes_heard.run_beat()
        except NotThisNode as error:
            # A sentence, not how it came about: `work` tries again a few times, then ends, and shows it.
            raise SystemExit(f"{error.message} {error.remedy}") from error
