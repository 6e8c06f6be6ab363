"""Redis servers of the tests, reached by a private socket; and writers that leave an invariant."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import redis

from agents.plan import SourceRequest
from tests.live.daemons import Daemon
from tests.live.ground import wait_until

_AS_REDIS = ("setpriv", "--reuid", "redis", "--regid", "redis", "--clear-groups")
_ACCOUNTS = 50


class Server:
    """A server on `data`, reached by a private socket. A context manager: it runs inside."""

    def __init__(self, data: Path, *settings: str) -> None:
        self.data = data
        self.settings = settings
        # Short: the path of a unix socket has 107 bytes at most.
        self._private = Path(tempfile.mkdtemp(prefix="hotfleet-rd-", dir="/tmp"))
        shutil.chown(self._private, "redis", "redis")
        self.socket = self._private / "s"

    @property
    def server_words(self) -> list[str | Path]:
        words: list[str | Path] = ["redis-server", "--port", "0", "--unixsocket", self.socket, "--save", ""]
        return [*words, "--dir", self.data, "--repl-diskless-sync-delay", "0", *self.settings]

    def __enter__(self) -> Server:
        words = [*_AS_REDIS, "--pdeathsig", "KILL", "--", *self.server_words]
        with (self._private / "log").open("wb") as log:
            self.process = subprocess.Popen(words, stdout=log, stderr=log, cwd="/")
        try:
            wait_until(
                lambda: self.process.poll() is not None or self._answers(), timeout_s=120, what="Redis"
            )
            if self.process.poll() is not None:
                raise AssertionError(f"Redis did not start: {(self._private / 'log').read_text()[-2000:]}")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.kill()
        self.process.wait(60)
        shutil.rmtree(self._private)

    def connect(self) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self.socket), decode_responses=True)

    def _answers(self) -> bool:
        try:
            return bool(self.connect().ping())
        except redis.AuthenticationError:
            return True
        except (redis.ConnectionError, redis.BusyLoadingError):
            return False

    @property
    def percentage(self) -> str:
        return str(self.connect().config_get("auto-aof-rewrite-percentage")["auto-aof-rewrite-percentage"])


class Writer:
    """Moves money between accounts and counts that, in one transaction each."""

    def __init__(self, server: Server, number: int) -> None:
        self.number, self.count, self.trouble, self.longest_s = number, 0, "", 0.0
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
        database = self._server.connect()
        while not self._stop.wait(0.001):
            began = time.monotonic()
            try:
                with database.pipeline(transaction=True) as moves:
                    moves.decrby(f"account:{self.count % _ACCOUNTS}", 1)
                    moves.incrby(f"account:{self.count * 7 % _ACCOUNTS}", 1)
                    moves.rpush(f"log:{self.number}", f"{self.count + 1}:{'x' * 500}")
                    moves.incr(f"count:{self.number}")
                    moves.execute()
            except redis.RedisError as error:
                self.trouble = str(error)
                return
            self.count += 1
            self.longest_s = max(self.longest_s, time.monotonic() - began)


def find_faults(server: Server, least: dict[int, int]) -> list[str]:
    database = server.connect()
    faults = []
    total = sum(int(database.get(key) or 0) for key in database.scan_iter("account:*"))
    if total != 0:
        faults.append(f"the accounts hold {total}")
    for writer, written in least.items():
        count = int(database.get(f"count:{writer}") or 0)
        logged = [int(str(line).split(":")[0]) for line in database.lrange(f"log:{writer}", 0, -1)]
        if logged != list(range(1, count + 1)) or count < written:
            faults.append(
                f"writer {writer} counted {count}, logged {len(logged)}, {written} were there before"
            )
    return faults


@contextmanager
def writers(server: Server) -> Iterator[list[Writer]]:
    with ExitStack() as stack:
        busy = [stack.enter_context(Writer(server, number)) for number in range(2)]
        wait_until(
            lambda: all(each.count > 50 or each.trouble for each in busy),
            timeout_s=120,
            what="the first numbers",
        )
        yield busy
    assert [each.trouble for each in busy] == ["", ""]


def request_for(server: Server, method: str = "") -> SourceRequest:
    return SourceRequest(application="redis", instance=str(server.socket), method=method)


class Service(Server):
    """A server that is a service of the device."""

    def __init__(self, data: Path, state: Path, name: str, *settings: str) -> None:
        super().__init__(data, *settings)
        self.daemon = Daemon(state, name, data, [*_AS_REDIS, "--", *self.server_words], "TERM")

    def __enter__(self) -> Service:
        assert self.daemon.call("start") == 0
        self.wait()
        return self

    def __exit__(self, *exception: object) -> None:
        self.daemon.__exit__(None, None, None)
        shutil.rmtree(self.socket.parent)

    def wait(self) -> None:
        wait_until(self._answers, timeout_s=60, what="an answer of Redis")
