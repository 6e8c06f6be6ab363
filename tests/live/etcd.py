"""Members of etcd of the tests, in the network of a device; and a writer that leaves an invariant."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from pathlib import Path

from agents.plan import SourceRequest
from tests.live.daemons import Daemon
from tests.live.ground import wait_until


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Member:
    """An etcd of one member in the network of a device."""

    def __init__(self, folder: Path, namespace: str, *words: str, scheme: str = "http") -> None:
        self.folder, self.data = folder, folder / "data"
        self._namespace, self._words, self._scheme = namespace, words, scheme
        folder.mkdir(parents=True, exist_ok=True)
        self.url, self._peer = (f"{scheme}://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}")
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def server_words(self) -> list[str | Path]:
        words: list[str | Path] = ["nsenter", f"--net=/run/netns/{self._namespace}", "etcd"]
        words += ["--name", "m1", "--data-dir", self.data]
        words += ["--listen-client-urls", self.url, f"--advertise-client-urls={self.url}"]
        words += ["--listen-peer-urls", self._peer, "--initial-advertise-peer-urls", self._peer]
        return [*words, "--initial-cluster", f"m1={self._peer}", *self._words]

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            environment = {**os.environ, "ETCD_ROOT_PASSWORD": "hidden-in-the-environment"}
            self.process = subprocess.Popen(self.server_words, env=environment, stdout=log, stderr=log)
        wait_until(self.answers, timeout_s=120, what="an answer of etcd")

    def answers(self) -> bool:
        return self.client("endpoint", "health", check=False).returncode == 0

    def client(self, *words: str, check: bool = True, text: str = "") -> subprocess.CompletedProcess[str]:
        options = [f"--endpoints={self.url}"]
        if self._scheme == "https":
            options += [f"--cacert={self.folder}/cert.pem", f"--cert={self.folder}/cert.pem"]
            options += [f"--key={self.folder}/key.pem"]
        prefix = ["nsenter", f"--net=/run/netns/{self._namespace}", "etcdctl", *options]
        return subprocess.run(
            [*prefix, *words], input=text, capture_output=True, text=True, check=check, timeout=60,
            env={**os.environ, "ETCDCTL_API": "3"},
        )  # fmt: skip

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(60)
            self.process = None

    def read_pair(self) -> tuple[int, int]:
        """Return both sides of the account: a writer changes them in one transaction, never one alone."""
        said = self.client("get", "side-", "--prefix", "--print-value-only").stdout.split()
        return int(said[0]), int(said[1])


class Writer(threading.Thread):
    """Writes the same number to both sides in one transaction, again and again."""

    def __init__(self, member: Member) -> None:
        super().__init__()
        self._member = member
        self.ended = threading.Event()
        self.count = 0
        self.errors: list[str] = []

    def run(self) -> None:
        while not self.ended.is_set():
            number = self.count + 1
            filler = f"put filler-{number % 100} {'x' * 20000}"
            text = f"\nput side-a {number}\nput side-b {number}\n{filler}\n\n\n"
            try:
                self._member.client("txn", text=text)
            except subprocess.CalledProcessError as error:
                self.errors.append(error.stderr)
                return
            self.count = number


def request_for(member: Member, method: str = "") -> SourceRequest:
    return SourceRequest(application="etcd", instance=str(member.data), method=method)


class Service(Member):
    """A member that is a service of the device."""

    def __init__(self, folder: Path, namespace: str, state: Path, name: str) -> None:
        super().__init__(folder, namespace)
        self.data.mkdir(mode=0o700)
        self.daemon = Daemon(state, name, self.data, self.server_words, "TERM")

    def start(self) -> None:
        assert self.daemon.call("start") == 0
        self.wait()

    def wait(self) -> None:
        wait_until(self.answers, timeout_s=60, what="an answer of etcd")

    def stop(self) -> None:
        self.daemon.__exit__(None, None, None)
