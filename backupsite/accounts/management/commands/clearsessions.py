"""`manage.py clearsessions`: removes expired sessions and old sign-in failures."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from backupsite.accounts import throttle
from backupsite.accounts.sessions import SessionStore


class Command(BaseCommand):
    help = "Remove expired sessions and sign-in failures that no longer count."

    def handle(self, *args: Any, **options: Any) -> None:
        SessionStore.clear_expired()
        throttle.clear_old()
