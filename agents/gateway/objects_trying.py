"""Trying an account of an object store before anything is kept there: write, read back, delete."""

from __future__ import annotations

import os
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import obstore

from agents.gateway.objects_account import Account, Client, connect
from agents.gateway.objects_errors import told
from agents.gateway.store import StoreFailed

TEST_BYTES: Final = 4 * 1024 * 1024
# A person waits for the answer: tried less patiently than a run does.
_REQUEST_S: Final = 15.0
_RETRIES_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Tried:
    """What an account can do. `has_versions`: what is deleted stays as an older version, and is paid for."""

    written_bytes_s: float
    read_bytes_s: float
    has_versions: bool


def try_account(account: Account) -> Tried:
    """Write an object, read it back, delete it. Raise StoreFailed with the remedy when one of that fails."""
    client = connect(account, request_s=_REQUEST_S, retries_s=_RETRIES_S)
    key, content = f".hotfleet-test-{secrets.token_hex(8)}", os.urandom(TEST_BYTES)
    began = time.monotonic()
    with told():
        try:
            put = obstore.put(client, key, content, use_multipart=False)
        except FileNotFoundError as error:
            raise StoreFailed(
                "the bucket does not exist in the object store",
                remedy="Look at the bucket's name, the endpoint and the region.",
            ) from error
    written = time.monotonic()
    try:
        with told():
            found = bytes(obstore.get(client, key).bytes())
        read = time.monotonic()
        if found != content:
            raise StoreFailed("an object that was written to the object store did not come back the same")
    finally:
        with told():
            obstore.delete(client, key)
    _require_deleted(client, key)
    return Tried(
        TEST_BYTES / max(written - began, 1e-3), TEST_BYTES / max(read - written, 1e-3), bool(put["version"])
    )


def leave_marker(account: Account, name: str, content: str) -> bool:
    """Write a small object once. Return False, and change nothing, when there is one of that name."""
    client = connect(account, request_s=_REQUEST_S, retries_s=_RETRIES_S)
    with told():
        with suppress(FileNotFoundError):
            obstore.head(client, name)
            return False
        obstore.put(client, name, content.encode(), use_multipart=False)
    return True


def take_marker(account: Account, name: str) -> None:
    """Remove the small object again."""
    with told(), suppress(FileNotFoundError):
        obstore.delete(connect(account, request_s=_REQUEST_S, retries_s=_RETRIES_S), name)


def _require_deleted(client: Client, key: str) -> None:
    with told(), suppress(FileNotFoundError):
        obstore.head(client, key)
        raise StoreFailed(
            "what was deleted in the object store is still there",
            remedy="Give the account the right to delete: without it no old data is ever removed.",
        )
