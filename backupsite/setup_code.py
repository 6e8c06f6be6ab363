"""The one-time code of the first start: whoever reads the terminal may make the first administrator.

Only its SHA-256 lies in the home; it is worth nothing after 30 minutes or after `withdraw`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import time
from pathlib import Path

from django.conf import settings

VALID_FOR_S = 30 * 60


def _path() -> Path:
    return Path(settings.HOTFLEET_HOME) / "setup-code"


def _hash(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()


def issue() -> str:
    """Make a new code and return it. Every earlier one is worthless from now on."""
    code = secrets.token_urlsafe(24)
    temporary = _path().with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump({"sha256": _hash(code), "expires_at": time.time() + VALID_FOR_S}, file)
    temporary.rename(_path())
    return code


def check(code: str) -> bool:
    """Given what somebody typed, return True when it is the newest code and still valid. May be repeated."""
    try:
        stored = json.loads(_path().read_text(encoding="ascii"))
    except FileNotFoundError:
        return False
    is_same = hmac.compare_digest(_hash(code), stored["sha256"])
    return is_same and time.time() < stored["expires_at"]


def withdraw() -> None:
    """Make every code worthless, because there is an administrator now. May be called again."""
    _path().unlink(missing_ok=True)
