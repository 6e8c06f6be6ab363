"""`manage.py verify_audit`: checks the chain of the audit trail and prints its newest hash."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from backupsite.accounts.audit import verify_chain


class Command(BaseCommand):
    help = "Check every link of the audit trail. The newest hash, kept elsewhere, proves the end."

    def handle(self, *args: Any, **options: Any) -> None:
        chain = verify_chain()
        if chain.broken_id is not None:
            raise CommandError(
                f"event {chain.broken_id} does not fit: it, or one before it, was changed or removed"
            )
        self.stdout.write(f"{chain.count} events, all fit. Newest hash: {chain.newest_hash}")
