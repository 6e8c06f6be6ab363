"""MariaDB servers of the tests: their own data directory, a private socket, ended by process id; and writers
that leave an invariant over tables with and without transactions."""

from __future__ import annotations

import atexit
import contextlib
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Protocol

from agents.plan import SourceRequest
from tests.live.daemons import Daemon
from tests.live.ground import wait_until

_AS_MYSQL = ("setpriv", "--reuid", "mysql", "--regid", "mysql", "--init-groups")
# A table that was open in a copy is told, and not mended behind the test's back.
_SETTINGS = (
    "--no-defaults",
    "--skip-networking",
    "--innodb-buffer-pool-size=16M",
    "--innodb-log-file-size=8M",
    "--myisam-recover-options=OFF",
    "--aria-pagecache-buffer-size=8M",
    "--key-buffer-size=4M",
    "--performance-schema=OFF",
)
ENGINES = ("InnoDB", "MyISAM", "Aria")
_ACCOUNTS = 20
_COLUMNS = "(writer int, n int, filler varchar(200), primary key (writer, n))"
SCHEMA = f"""
create database app;
use app;
{"".join(f"create table {each} {_COLUMNS} engine={each};" for each in ENGINES)}
create table account (id int primary key, balance int not null) engine=InnoDB;
insert into account select seq, 1000 from seq_1_to_{_ACCOUNTS};
"""


@cache
def _template() -> Path:
    """Return a data directory that was installed, with our tables: made once, since it takes seconds."""
    path = Path(tempfile.mkdtemp(prefix="hotfleet-mariadb-", dir="/tmp"))
    atexit.register(shutil.rmtree, path)
    path.chmod(0o755)
    words = ["mariadb-install-db", "--no-defaults", "--user=mysql", f"--datadir={path}/db", "--skip-test-db"]
    words += ["--auth-root-authentication-method=socket"]
    subprocess.run(words, check=True, capture_output=True, timeout=120)
    with Server(path) as server:
        server.sql(SCHEMA)
    return path


class Server:
    """One server on `home`/db with its binary log in `home`/binlog. A context manager: it runs inside."""

    def __init__(self, home: Path, *settings: str) -> None:
        self.home = home
        self.settings = settings
        # Short: the path of a unix socket has 107 bytes at most.
        self._private = Path(tempfile.mkdtemp(prefix="hotfleet-my-", dir="/tmp"))
        shutil.chown(self._private, "mysql", "mysql")
        self.process: subprocess.Popen[bytes] | None = None

    def create(self) -> Server:
        """Make its directories of the template's."""
        shutil.copytree(_template() / "db", self.data)
        for path in (self.data, *self.data.rglob("*")):
            shutil.chown(path, "mysql", "mysql")
        return self

    @property
    def data(self) -> Path:
        return self.home / "db"

    @property
    def socket(self) -> Path:
        return self._private / "s"

    @property
    def log(self) -> str:
        return (self._private / "log").read_text(errors="replace")

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            self.stop()
        finally:
            shutil.rmtree(self._private)

    def start(self) -> None:
        """Start it and wait until it answers. Raise AssertionError with its log when it does not."""
        binlog = self.home / "binlog"
        if not binlog.exists():
            binlog.mkdir(mode=0o750)
            shutil.chown(binlog, "mysql", "mysql")
        words = [
            *_AS_MYSQL,
            "--pdeathsig",
            "KILL",
            "--",
            "mariadbd",
            *_SETTINGS,
            f"--datadir={self.data}",
            f"--socket={self.socket}",
        ]
        words += [f"--log-bin={binlog}/bl", f"--pid-file={self._private}/pid", *self.settings]
        with (self._private / "log").open("ab") as log:
            self.process = subprocess.Popen(words, stdout=log, stderr=log, cwd="/", start_new_session=True)
        wait_until(self._is_settled, timeout_s=180, what="the start of MariaDB")
        if self.process.poll() is not None:
            raise AssertionError(f"MariaDB did not start:\n{self.log[-3000:]}")

    def _is_settled(self) -> bool:
        if self.process is None or self.process.poll() is not None:
            return True
        return self.run("-e", "select 1", check=False).returncode == 0

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(180)
            self.process = None

    def words(self) -> list[str]:
        return ["mariadb", "--no-defaults", f"--socket={self.socket}", "--batch", "--skip-column-names"]

    def run(
        self, *words: str, check: bool = True, text: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*self.words(), *words], capture_output=True, text=True, input=text, timeout=180
        )
        if check and done.returncode != 0:
            raise AssertionError(f"mariadb: {done.stdout}{done.stderr}")
        return done

    def sql(self, query: str) -> str:
        """Return what a query printed. Raise AssertionError when it failed."""
        return self.run(text=query).stdout.strip()

    def sessions(self) -> list[str]:
        """Return the statement of every session but those of writers and the server's own."""
        listed = self.sql(
            "select id, coalesce(info, '') from information_schema.processlist where command <> 'Daemon' "
            "and id <> connection_id() and coalesce(db, '') <> 'app'"
        )
        return listed.splitlines()

    @contextlib.contextmanager
    def busy(self, statement: str) -> Iterator[None]:
        """Run a statement in a session of its own meanwhile; it is killed at the end."""
        words = [*self.words(), "--comments", "app", "-e", statement]
        client = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: "sleep(" in self.sql("show full processlist"), what="the statement")
            yield
        finally:
            client.kill()
            client.wait(60)
            for line in self.sql("select id from information_schema.processlist where db = 'app'").split():
                self.run("-e", f"kill {line}", check=False)


class Reached(Protocol):
    """A server that is asked by a client program, wherever it runs."""

    def words(self) -> list[str]:
        """Return the words that start a client, which reads SQL from stdin."""

    def sql(self, query: str) -> str:
        """Return what a query printed. Raise AssertionError when it failed."""


class Writer:
    """Writes numbers, one after another, into a table of each engine, and moves money between accounts.

    At every moment each table holds all numbers from 1, and one table at most one more than the next one."""

    def __init__(
        self, server: Reached, number: int, engines: Sequence[str] = ENGINES, *, pause_s: float = 0
    ) -> None:
        """`pause_s`: between two steps, where nobody can write as fast as can be."""
        self._pause_s = pause_s
        self._engines = engines
        self.number = number
        self.count = 0
        self.longest_s = 0.0
        self.trouble = ""
        self._server = server
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join(60)

    def _work(self) -> None:
        words = [*self._server.words(), "--unbuffered", "app"]
        client = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        if client.stdin is None or client.stdout is None or client.stderr is None:
            raise AssertionError("a client without pipes")
        while not self._stop.is_set():
            began = time.monotonic()
            client.stdin.write(self._step(self.count + 1))
            client.stdin.flush()
            if client.stdout.readline() != f"done {self.count + 1}\n":
                self.trouble = client.stderr.read() or "the session ended"
                break
            self.count += 1
            self.longest_s = max(self.longest_s, time.monotonic() - began)
            self._stop.wait(self._pause_s)
        client.stdin.close()
        client.wait(60)

    def _step(self, n: int) -> str:
        rows = "".join(
            f"insert into {each} values ({self.number}, {n}, repeat('x', {n % 200}));\n"
            for each in self._engines
        )
        one, two = n % _ACCOUNTS + 1, (n * 7 + self.number) % _ACCOUNTS + 1
        first, second = sorted((one, two))
        move = (
            f"begin; update account set balance = balance - 1 where id = {first};"
            f"update account set balance = balance + 1 where id = {second}; commit;\n"
        )
        return f"{rows}{move}select 'done {n}';\n"


def find_faults(server: Reached, least: dict[int, int]) -> list[str]:
    """Given a server on a restored copy and what each writer had written before the backup began, return what
    is wrong with it."""
    faults = []
    tables = ", ".join((*ENGINES, "account"))
    for line in server.sql(f"use app; check table {tables} extended").splitlines():
        table, _, kind, text = line.split("\t", 3)
        if (kind, text) != ("status", "OK"):
            faults.append(f"{table}: {kind}: {text}")
    if any(": error: " in fault for fault in faults):
        return faults  # what is corrupt cannot be counted
    for writer, written in least.items():
        counts = []
        for each in ENGINES:
            count, highest = server.sql(
                f"select count(*), coalesce(max(n), 0) from app.{each} where writer = {writer}"
            ).split()
            if count != highest:
                faults.append(f"{each}: writer {writer} has {count} rows up to {highest}")
            counts.append(int(count))
        if not (counts[0] >= counts[1] >= counts[2] >= counts[0] - 1 and counts[2] >= written):
            faults.append(
                f"writer {writer}: {counts} rows of {ENGINES}, at least {written} were there before"
            )
    total = server.sql("select sum(balance) from app.account")
    if total != str(_ACCOUNTS * 1000):
        faults.append(f"the accounts hold {total}")
    return faults


@contextlib.contextmanager
def writers(server: Server, count: int = 3, engines: Sequence[str] = ENGINES) -> Iterator[list[Writer]]:
    """Writers that went well, with no error and no lost session."""
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(Writer(server, number, engines)) for number in range(count)]
        wait_until(
            lambda: all(each.count > 5 or each.trouble for each in found),
            timeout_s=120,
            what="the first rows",
        )
        yield found
    assert [each.trouble for each in found] == [""] * count


def request_for(server: Server, method: str = "", freeze_ms: int = 10_000) -> SourceRequest:
    return SourceRequest(
        application="mariadb", instance=str(server.data), method=method, longest_freeze_ms=freeze_ms
    )


class Service(Server):
    """A server that is a service of the device."""

    def __init__(self, home: Path, state: Path, name: str) -> None:
        super().__init__(home)
        words: list[str | Path] = [*_AS_MYSQL, "--", "mariadbd", *_SETTINGS, f"--datadir={self.data}"]
        words += [f"--socket={self.socket}", f"--log-bin={home}/binlog/bl", f"--pid-file={self._private}/pid"]
        words += [f"--log-error={self.data}/server.err"]
        self.daemon = Daemon(state, name, self.data, words, "TERM")

    def create(self) -> Service:
        super().create()
        (self.home / "binlog").mkdir(mode=0o750)
        shutil.chown(self.home / "binlog", "mysql", "mysql")
        return self

    def __enter__(self) -> Service:
        self.start()
        return self

    def start(self) -> None:
        assert self.daemon.call("start") == 0
        self.wait()

    def wait(self) -> None:
        wait_until(
            lambda: self.run("-e", "select 1", check=False).returncode == 0,
            timeout_s=120,
            what="an answer of MariaDB",
        )

    def stop(self) -> None:
        self.daemon.__exit__(None, None, None)
