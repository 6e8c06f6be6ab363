"""A copy of the console's own database in files, and what a copy says of itself.

SQLite: by the backup API, which reads one state while others write. PostgreSQL: by pg_dump, its custom format
without compression, so that restic finds what did not change.
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.db import connection

from agents.errors import AgentError
from backupsite import __version__

FORMAT: Final = 1
SQLITE, POSTGRESQL = "sqlite", "postgresql"
NAMES: Final = {SQLITE: "hotfleet.sqlite3", POSTGRESQL: "hotfleet.pgdump"}
ABOUT: Final = "console.json"
_LONGEST_S: Final = 3600


class CopyFailed(AgentError):
    """The console's own database cannot be copied, or a copy of it is not whole."""

    code = "console-copy-failed"


class TooNew(CopyFailed):
    """The copy is of a newer version of Hotfleet than this one."""

    code = "console-too-new"


@dataclass(frozen=True)
class About:
    """What lies beside a copy: who made it. `format` grows when an older console could not read it."""

    format: int
    engine: str
    version: str
    console_id: str
    host: str


def copy_console(folder: Path) -> list[Path]:
    """Given an empty folder, write a checked copy of the database there and what it says of itself.

    Return the files. Raise CopyFailed; OSError when the folder is full."""
    engine = POSTGRESQL if connection.vendor == "postgresql" else SQLITE
    copy, about = folder / NAMES[engine], folder / ABOUT
    if engine == POSTGRESQL:
        dump_postgresql(copy)
    else:
        _copy_sqlite(copy)
    told = About(FORMAT, engine, __version__, settings.CONSOLE_ID, socket.gethostname())
    about.write_text(json.dumps(asdict(told)), encoding="ascii")
    return [about, copy]


def parse_about(text: str) -> About:
    """Given the text of `console.json`, return it. Raise CopyFailed when it is damaged, TooNew."""
    try:
        record = json.loads(text)
        about = About(int(record["format"]), *(str(record[name]) for name in list(About.__annotations__)[1:]))
    except (ValueError, KeyError, TypeError) as error:
        raise CopyFailed("The copy of the console does not say what it is.", detail=str(error)) from error
    if about.format > FORMAT or about.engine not in NAMES:
        raise TooNew(
            f"The console was of a newer version ({about.version}) than this one ({__version__}).",
            remedy="Recover it with that version of Hotfleet or a newer one.",
        )
    return about


def check_sqlite(copy: Path) -> None:
    """Given a copy that nobody writes to, read all of it. Raise CopyFailed when it is not whole."""
    try:
        with closing(sqlite3.connect(f"file:{copy}?mode=ro&immutable=1", uri=True)) as database:
            said = [str(row[0]) for row in database.execute("PRAGMA integrity_check(5)")]
    except sqlite3.Error as error:
        raise CopyFailed("The copy of the database cannot be read.", detail=str(error)) from error
    if said != ["ok"]:
        raise CopyFailed(
            "The console's database is damaged.",
            remedy="Older copies of it are kept: recover one of them if this one cannot be mended.",
            detail="\n".join(said),
        )


def _copy_sqlite(copy: Path) -> None:
    if connection.in_atomic_block:
        raise RuntimeError("SQLite does not copy what its own connection is changing")
    connection.ensure_connection()
    until = time.monotonic() + _LONGEST_S

    def watch(*_: int) -> None:
        # Called after each try: without an end it would wait for ever for somebody who writes for ever.
        if time.monotonic() > until:
            raise CopyFailed("The console's database was locked for too long.")

    try:
        with closing(sqlite3.connect(copy)) as target:
            connection.connection.backup(target, progress=watch)
            # The copy is one file: nobody looks for a log beside it.
            target.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.Error as error:
        raise CopyFailed("The console's database cannot be copied.", detail=str(error)) from error
    check_sqlite(copy)


def dump_postgresql(copy: Path) -> None:
    """Write a dump of the console's PostgreSQL database. Raise CopyFailed."""
    _run(["pg_dump", "--format=custom", "--compress=0", "--no-owner", "--no-privileges", f"--file={copy}"])


def load_postgresql(copy: Path) -> None:
    """Given a dump, put it into the console's PostgreSQL database, which is empty. Raise CopyFailed."""
    name = str(connection.settings_dict["NAME"])
    _run(
        [
            "pg_restore", "--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges",
            f"--dbname={name}", str(copy),
        ]
    )  # fmt: skip


def _run(words: list[str]) -> None:
    variables = {"PATH": os.environ.get("PATH", ""), **libpq_variables(connection.settings_dict)}
    try:
        done = subprocess.run(
            ["setpriv", "--pdeathsig", "KILL", "--", *words],
            env=variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_LONGEST_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CopyFailed(f"{words[0]} did not do its work.", detail=str(error)) from error
    if done.returncode != 0:
        raise CopyFailed(
            f"{words[0]} failed.",
            remedy="It must be installed on the console's machine, and not be older than the server "
            "(apt install postgresql-client).",
            detail=done.stderr.decode(errors="replace")[-2000:],
        )


def libpq_variables(database: Mapping[str, Any]) -> dict[str, str]:
    """Given Django's settings of a database, return what libpq reads from the environment. Pure.

    A password on a command line could be read by everybody on the machine."""
    named = {
        "PGDATABASE": "NAME",
        "PGUSER": "USER",
        "PGPASSWORD": "PASSWORD",
        "PGHOST": "HOST",
        "PGPORT": "PORT",
    }
    found = {variable: str(database.get(name) or "") for variable, name in named.items()}
    options = {f"PG{name.upper()}": str(value) for name, value in (database.get("OPTIONS") or {}).items()}
    known = {"PGSSLMODE", "PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY", "PGSERVICE", "PGPASSFILE"}
    return {name: value for name, value in (found | options).items() if value and name in {*named, *known}}
