"""Runs a command with a PostgreSQL of its own: `python -m tests.postgresql pytest -m postgresql`.

The tests marked `postgresql` run on SQLite with all the others, and by this a second time on PostgreSQL:
DATABASE_URL is set for the command. The server belongs to an unprivileged user (PostgreSQL refuses root),
listens on a unix socket in a private directory, and is ended by its process id.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_DATABASE = "hotfleet"


def find_binaries() -> Path:
    """Return the directory of the newest PostgreSQL's programs. Raise SystemExit when there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: float(p.parts[-3]))
    if not found:
        raise SystemExit("There is no PostgreSQL in /usr/lib/postgresql: script/setup --test installs one.")
    return found[-1].parent


@contextmanager
def running() -> Iterator[str]:
    """Start a server and yield the DATABASE_URL of an empty database in it; end it afterwards."""
    binaries = find_binaries()
    # Short: the path of a unix socket has 107 bytes at most.
    home = Path(tempfile.mkdtemp(prefix="hotfleet-pg-", dir="/tmp"))
    if os.geteuid() == 0:
        shutil.chown(home, "postgres", "postgres")
    server: subprocess.Popen[bytes] | None = None
    try:
        _run(binaries / "initdb", "-D", home / "data", "-U", "hotfleet", "-A", "trust", "-E", "UTF8", "-N")
        server = _start(binaries, home)
        _wait_until_ready(binaries, home, server)
        _run(binaries / "createdb", "-h", home, "-U", "hotfleet", _DATABASE)
        yield f"postgresql://hotfleet@/{_DATABASE}?host={home}"
    finally:
        if server is not None:
            server.send_signal(signal.SIGINT)  # "fast shutdown": sessions are ended, nothing is waited for
            server.wait(60)
        shutil.rmtree(home)


def _unprivileged() -> list[str]:
    """Return the words that turn root into the user postgres for what follows them."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups", "--"]


def _run(*command: str | Path) -> None:
    words = [*_unprivileged(), *map(str, command)]
    done = subprocess.run(words, capture_output=True, text=True, cwd="/", check=False)
    if done.returncode != 0:
        raise SystemExit(f"{command[0]}: {done.stderr}")


def _start(binaries: Path, home: Path) -> subprocess.Popen[bytes]:
    # Ended by the kernel when we are killed.
    words = [*_unprivileged(), "setpriv", "--pdeathsig", "INT", "--", str(binaries / "postgres")]
    words += ["-D", str(home / "data"), "-k", str(home)]
    for setting in ("listen_addresses=", "fsync=off", "max_connections=50", "logging_collector=off"):
        words += ["-c", setting]
    with (home / "log").open("wb") as log:
        return subprocess.Popen(words, stdout=log, stderr=log, cwd="/", start_new_session=True)


def _wait_until_ready(binaries: Path, home: Path, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 30
    while subprocess.run([binaries / "pg_isready", "-q", "-h", home], check=False).returncode != 0:
        if server.poll() is not None or time.monotonic() > until:
            raise SystemExit(f"PostgreSQL did not start:\n{(home / 'log').read_text()}")
        time.sleep(0.1)


def main(command: list[str]) -> int:
    """Run the command while the server runs and return its exit code."""
    if not command:
        raise SystemExit("Usage: python -m tests.postgresql COMMAND ...")
    with running() as url:
        return subprocess.run(command, env=os.environ | {"DATABASE_URL": url}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
