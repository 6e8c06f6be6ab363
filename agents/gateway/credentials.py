"""Who may talk to the gateway: one random user and password for each run."""

from __future__ import annotations

import base64
import hmac
import secrets
from dataclasses import dataclass

from agents.commands import Secret


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user and a password of one run. They reach restic in its environment, never as a word."""

    user: str
    password: Secret

    def match(self, authorization: bytes) -> bool:
        """Given the value of an Authorization header, return whether it is ours, in constant time."""
        pair = f"{self.user}:{self.password.reveal()}".encode()
        return hmac.compare_digest(authorization, b"Basic " + base64.b64encode(pair))


def make_credentials() -> Credentials:
    """Return new random credentials (128 and 256 bits, letters that need no quoting anywhere)."""
    return Credentials(f"run-{secrets.token_hex(16)}", Secret(secrets.token_hex(32)))


@dataclass(frozen=True, slots=True)
class KeyFile:
    """The one key file that a run may see: its name is the SHA-256 of its content.

    The content holds the repository's master key, encrypted with the run's one-time password.
    """

    name: str
    content: bytes
