"""Django's session engine on StoredSession: the database holds SHA-256 of the cookie's value, never itself.

Data is JSON, signed with the secret key (SessionBase.encode). The asynchronous methods of SessionBase call
these ones in a thread.
"""

from __future__ import annotations

import hashlib
from typing import Any

from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.base import CreateError, SessionBase, UpdateError
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.crypto import get_random_string

from backupsite.accounts.models import StoredSession


def hash_key(session_key: str) -> str:
    """Given a cookie's value, return the 64 hex digits under which the table knows it."""
    return hashlib.sha256(session_key.encode()).hexdigest()


class SessionStore(SessionBase):
    """One browser's session; `session_key` is the cookie's value and exists only here and in the browser."""

    _session_cache: dict[str, Any]

    @property
    def key_hash(self) -> str | None:
        """The row's primary key, or None while the session has no key."""
        return None if self.session_key is None else hash_key(self.session_key)

    def load(self) -> dict[str, Any]:
        """Return the stored data. An unknown or expired key is forgotten, so that nobody can choose a key."""
        row = StoredSession.objects.filter(key_hash=self.key_hash, expires_at__gt=timezone.now()).first()
        if row is None:
            self._session_key = None
            return {}
        return dict(self.decode(row.data))

    def exists(self, session_key: str) -> bool:
        return StoredSession.objects.filter(key_hash=hash_key(session_key)).exists()

    def create(self) -> None:
        # Without a cache the first look at the data would load the new key's row, which is not there yet.
        self._session_cache = getattr(self, "_session_cache", {})
        while True:
            self._session_key = get_random_string(40)
            try:
                self.save(must_create=True)
            except CreateError:
                continue
            self.modified = True
            return

    def save(self, must_create: bool = False) -> None:
        """Write the session. Raise UpdateError when it was ended meanwhile: it must not come back."""
        if self.session_key is None:
            self.create()
            return
        fields = {
            "user_id": self.get(SESSION_KEY),
            "data": self.encode(dict(self.items())),
            "expires_at": self.get_expiry_date(),
        }
        if must_create:
            self._insert(fields)
        elif not StoredSession.objects.filter(key_hash=self.key_hash).update(**fields):
            raise UpdateError

    def _insert(self, fields: dict[str, Any]) -> None:
        try:
            with transaction.atomic():
                StoredSession.objects.create(key_hash=hash_key(str(self.session_key)), **fields)
        except IntegrityError as error:
            # Only a taken key may lead to another try: a user who vanished would make `create` loop for ever.
            if self.exists(str(self.session_key)):
                raise CreateError from error
            raise

    def delete(self, session_key: str | None = None) -> None:
        key = self.session_key if session_key is None else session_key
        if key is not None:
            StoredSession.objects.filter(key_hash=hash_key(key)).delete()

    @classmethod
    def clear_expired(cls) -> None:
        StoredSession.objects.filter(expires_at__lte=timezone.now()).delete()
