"""PostgreSQL servers of the tests: their own data directory, a private socket, ended by process id."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import IO

from tests.live.daemons import Daemon, kill
from tests.live.ground import wait_until
from tests.postgresql import find_binaries

_AS_POSTGRES = ("setpriv", "--reuid", "postgres", "--regid", "postgres", "--init-groups", "--")
# Small files and small limits, so that checkpoints and recycled WAL happen within seconds.
_SETTINGS = (
    "listen_addresses=",
    "port=5432",
    "max_connections=50",
    "max_wal_size=64MB",
    "min_wal_size=32MB",
    "checkpoint_timeout=30s",
    "logging_collector=off",
    "autovacuum_naptime=1s",
    "lc_messages=C",
)


def as_postgres(*words: str | Path, check: bool = True, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run a program as the user postgres. Raise AssertionError with its output when it fails."""
    done = subprocess.run(
        [*_AS_POSTGRES, *map(str, words)], capture_output=True, text=True, input=text, cwd="/", timeout=300
    )
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, words))}: {done.stdout}{done.stderr}")
    return done


class Cluster:
    """One server on `data`. A context manager: it runs inside, and is stopped at the end."""

    binaries = find_binaries()

    def __init__(self, data: Path, *settings: str) -> None:
        self.data = data
        self.settings = [*_SETTINGS, *settings]
        # Short: the path of a unix socket has 107 bytes at most.
        self.socket = Path(tempfile.mkdtemp(prefix="hotfleet-pg-", dir="/tmp"))
        self.socket.chmod(0o700)
        shutil.chown(self.socket, "postgres", "postgres")
        self.server: subprocess.Popen[bytes] | None = None

    @classmethod
    def of_copy(cls, data: Path) -> Cluster:
        """A server on a copy that nobody keeps: it writes nothing to the disk in earnest."""
        return cls(data, "fsync=off", "autovacuum=off")

    def create(self, *options: str) -> Cluster:
        """Make the cluster. Its directory exists and is empty, or is made."""
        self.data.mkdir(exist_ok=True)
        shutil.chown(self.data, "postgres", "postgres")
        as_postgres(
            self.binaries / "initdb",
            "-D",
            self.data,
            "-A",
            "peer",
            "-E",
            "UTF8",
            "--locale=C",
            "-k",
            *options,
        )
        return self

    def __enter__(self) -> Cluster:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()
        shutil.rmtree(self.socket)

    def start(self) -> None:
        """Start the server and wait until it answers. Raise AssertionError with its log when it does not."""
        # Ended by the kernel when we are killed.
        words = [*_AS_POSTGRES, "setpriv", "--pdeathsig", "INT", "--", str(self.binaries / "postgres")]
        words += ["-D", str(self.data), "-k", str(self.socket)]
        for setting in self.settings:
            words += ["-c", setting]
        with (self.socket / "log").open("ab") as log:
            self.server = subprocess.Popen(words, stdout=log, stderr=log, cwd="/", start_new_session=True)
        wait_until(self._is_settled, timeout_s=120, what="the start of PostgreSQL")
        if self.server.poll() is not None:
            raise AssertionError(f"PostgreSQL did not start:\n{self.log[-3000:]}")

    def _is_settled(self) -> bool:
        if self.server is None or self.server.poll() is not None:
            return True
        return self.run("pg_isready", "-q", check=False).returncode == 0

    def stop(self) -> None:
        """Stop it as a service does: sessions are ended, everything is written."""
        if self.server is not None:
            self.server.send_signal(signal.SIGCONT)
            self.server.send_signal(signal.SIGQUIT if "fsync=off" in self.settings else signal.SIGINT)
            self.server.wait(180)
            self.server = None

    @property
    def pid(self) -> int:
        if self.server is None:
            raise AssertionError("PostgreSQL does not run")
        return self.server.pid

    @property
    def log(self) -> str:
        return (self.socket / "log").read_text(errors="replace")

    def run(
        self, program: str, *words: str | Path, check: bool = True, text: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run one of PostgreSQL's programs against this server, as postgres."""
        return as_postgres(
            "env",
            f"PGHOST={self.socket}",
            "PGPORT=5432",
            self.binaries / program,
            *words,
            check=check,
            text=text,
        )

    def sql(self, query: str, *, database: str = "postgres") -> str:
        """Return what a query printed, unaligned. Raise AssertionError when it failed."""
        return self.run(
            "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database, text=query
        ).stdout.strip()

    def popen(
        self, program: str, *words: str, output: int | IO[str] = subprocess.PIPE
    ) -> subprocess.Popen[str]:
        """Start one of PostgreSQL's programs against this server, in the background."""
        return subprocess.Popen(
            [*_AS_POSTGRES, "env", f"PGHOST={self.socket}", str(self.binaries / program), *words],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            cwd="/",
        )


def own(path: Path) -> Path:
    """Make a directory that belongs to postgres alone, and return it."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o700)
    shutil.chown(path, "postgres", "postgres")
    return path


class Service(Cluster):
    """A cluster whose server is a service of the device."""

    def __enter__(self) -> Service:
        super().__enter__()
        return self

    def __init__(self, data: Path, state: Path, name: str, *settings: str) -> None:
        super().__init__(data, *settings)
        words: list[str | Path] = [*_AS_POSTGRES, self.binaries / "postgres", "-D", data, "-k", self.socket]
        for setting in self.settings:
            words += ["-c", setting]
        self.daemon = Daemon(state, name, data, words, "INT")

    def start(self) -> None:
        assert self.daemon.call("start") == 0
        self.wait()

    def wait(self) -> None:
        wait_until(
            lambda: self.run("pg_isready", "-q", check=False).returncode == 0,
            timeout_s=120,
            what="an answer of PostgreSQL",
        )

    def __exit__(self, *exception: object) -> None:
        self.daemon.__exit__(None, None, None)
        shutil.rmtree(self.socket)

    def stop(self) -> None:
        assert self.daemon.call("stop") == 0

    @property
    def pid(self) -> int:
        return self.daemon.pid


def destroy(cluster: Service) -> None:
    """The disaster: the data is removed under the running server, which then is gone too."""
    pid = cluster.pid
    shutil.rmtree(cluster.data, ignore_errors=True)
    if cluster.pid:  # it may have noticed by itself
        kill(pid)
    # PostgreSQL takes a dead process that nobody waited for yet for the owner of its socket
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), what="the end of the server")
    wait_until(lambda: is_removed(cluster.data), what="the end of what the server still wrote")


def is_removed(data: Path) -> bool:
    shutil.rmtree(data, ignore_errors=True)
    return not data.exists()
