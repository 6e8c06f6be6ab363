"""Reads settings from the environment. Every bad value is refused at start with a hint."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

NODE_FILE = "node.json"
DEMO_FILE = "demo"
_ORIGIN = re.compile(r"^https?://[A-Za-z0-9.\-\[\]:]+$")


def read(name: str, default: str = "") -> str:
    """Given a variable's name, return its value, or the text of the file that `<name>_FILE` names.

    Raise ImproperlyConfigured when both are set or the file cannot be read.
    """
    value = os.environ.get(name, "")
    file_name = os.environ.get(f"{name}_FILE", "")
    if value and file_name:
        raise ImproperlyConfigured(f"Set {name} or {name}_FILE, not both.")
    if not file_name:
        return value or default
    try:
        return Path(file_name).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ImproperlyConfigured(f"{name}_FILE: {error}") from error


def read_flag(name: str) -> bool:
    """Given a variable's name, return True for 1/true/yes, False for empty/0/false/no. Raise otherwise."""
    value = os.environ.get(name, "").strip().lower()
    if value in {"1", "true", "yes"}:
        return True
    if value in {"", "0", "false", "no"}:
        return False
    raise ImproperlyConfigured(f"{name} is {value!r}; write 1 or 0.")


def read_port(name: str, default: int) -> int:
    """Given a variable's name, return a TCP port. Raise ImproperlyConfigured when it is none."""
    value = read(name, str(default))
    if not value.isascii() or not value.isdigit() or not 0 < int(value) < 65536:
        raise ImproperlyConfigured(f"{name} is {value!r}; write a port from 1 to 65535.")
    return int(value)


def read_count(name: str, default: int) -> int:
    """Given a variable's name, return a number from 1 to 200. Raise ImproperlyConfigured when it is none."""
    value = read(name, str(default))
    if not value.isascii() or not value.isdigit() or not 0 < int(value) <= 200:
        raise ImproperlyConfigured(f"{name} is {value!r}; write a number from 1 to 200.")
    return int(value)


def log_level() -> str:
    """Return how much the console's processes say (HOTFLEET_LOG_LEVEL, default WARNING)."""
    value = read("HOTFLEET_LOG_LEVEL", "WARNING").upper()
    if value not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
        raise ImproperlyConfigured(f"HOTFLEET_LOG_LEVEL is {value!r}; write DEBUG, INFO, WARNING or ERROR.")
    return value


def home_problem(home: Path) -> str:
    """Given the home, return why it must not hold secrets, or "" when it may. Changes nothing."""
    found = home.stat()
    if found.st_uid != os.geteuid():
        return f"{home} belongs to user number {found.st_uid}. Set HOTFLEET_HOME to a directory of yours."
    if found.st_mode & 0o077:
        # Not mended here: it could be /tmp or somebody's home directory.
        return f"Others may look into {home}. Type: chmod 700 {shlex.quote(os.fspath(home))}"
    return ""


def home_directory(base: Path) -> Path:
    """Return the directory of all state (HOTFLEET_HOME, default `var`), made 0700 when missing."""
    home = Path(os.environ.get("HOTFLEET_HOME") or base / "var").absolute()
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ImproperlyConfigured(f"HOTFLEET_HOME {home} cannot be made: {error.strerror}.") from error
    return home


def is_demo(home: Path) -> bool:
    """Return whether a home is a demo's: `backupsite.demo` marked it."""
    return (home / DEMO_FILE).exists()


def console_id(home: Path) -> str:
    """Return the name of this console on devices (8 hex digits), made once and kept in the home."""
    return _kept_once(home / "console-id", lambda: secrets.token_hex(4))


@dataclass(frozen=True)
class Joined:
    """What a machine that joined as a node was told, kept 0600 in its home as `node.json`. `node` is
    "console" on the console's own machine, which has no such file. `ticket` proves which node it is."""

    node: str = "console"
    database_url: str = ""
    redis_url: str = ""
    ticket: str = ""
    is_claimed: bool = False


def joined(home: Path) -> Joined:
    """Return what this machine was told when it joined. Raise ImproperlyConfigured when that is damaged."""
    path = home / NODE_FILE
    if not path.exists():
        return Joined()
    try:
        return Joined(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ImproperlyConfigured(f"{path} cannot be read: join the node again. {error}") from error


def write_private(path: Path, text: str) -> None:
    """Write a small private file whole or not at all, in place of one that was there."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)


def secret_key(home: Path) -> str:
    """Return Django's secret key: HOTFLEET_SECRET_KEY, or one that is made once and kept 0600 in the home."""
    given = read("HOTFLEET_SECRET_KEY")
    if given:
        if len(given) < 32:
            raise ImproperlyConfigured("HOTFLEET_SECRET_KEY needs 32 characters or more.")
        return given
    return _kept_once(home / "secret-key", lambda: secrets.token_urlsafe(48))


def _kept_once(path: Path, make: Callable[[], str]) -> str:
    """Return what a small private file holds; make it first when it is missing. Two starts at once agree."""
    if not path.exists():
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(make())
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    return path.read_text(encoding="ascii").strip()


def valkey_socket(home: Path) -> Path:
    """Given the home, return where its Valkey listens. The same home gives the same answer in each process.

    A socket's path may have 107 bytes (unix(7)). When the home's own is longer it is a directory of the
    system for short-lived files; whoever makes it must check that it is private.
    """
    path = home / "run" / "valkey.sock"
    if len(os.fsencode(path)) <= 107:
        return path
    user = os.geteuid()
    mark = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    base = Path("/run") if user == 0 else Path("/tmp")  # noqa: S108 (0700 and its owner is checked before use)
    return base / f"hotfleet-{user}-{mark}" / "valkey.sock"


def redis_url(socket: Path | None, told: str = "") -> str:
    """Given the own Valkey's socket, return its address; given None, return REDIS_URL, or what was told."""
    if socket is None:
        return read("REDIS_URL") or told
    return f"unix://{quote(os.fspath(socket))}?db=0"


def origins(port: int) -> list[str]:
    """Return the origins under which browsers may use the console (HOTFLEET_ORIGIN, comma separated)."""
    given = [part.strip().rstrip("/") for part in read("HOTFLEET_ORIGIN").split(",") if part.strip()]
    for origin in given:
        if not _ORIGIN.match(origin):
            raise ImproperlyConfigured(f"HOTFLEET_ORIGIN {origin!r} is not like https://backup.example.org")
    return given or [f"http://127.0.0.1:{port}", f"http://localhost:{port}"]


def database(url: str, home: Path) -> dict[str, object]:
    """Given a DATABASE_URL (empty: SQLite in the home), return Django's settings of the default database."""
    if not url:
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": home / "hotfleet.sqlite3",
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": (
                    "PRAGMA journal_mode=WAL;PRAGMA synchronous=FULL;PRAGMA journal_size_limit=67108864;"
                ),
            },
        }
    parts = urlsplit(url)
    if parts.scheme == "sqlite" and parts.path.startswith("/"):  # of the console, on the same machine
        return database("", Path(unquote(parts.path)).parent)
    if parts.scheme not in {"postgres", "postgresql"}:
        raise ImproperlyConfigured("DATABASE_URL is not like postgresql://user:password@server/name")
    # What follows the question mark goes to libpq: sslmode, sslrootcert, host (a directory: unix socket) ...
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": options.pop("host", unquote(parts.hostname or "")),
        "PORT": options.pop("port", str(parts.port or "")),
        "OPTIONS": options,
    }
