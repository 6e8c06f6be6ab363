"""`manage.py serve` in a directory of its own, started as a person starts it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

from tests.live.machine import wait_until

TOP = Path(__file__).resolve().parents[2]


class Site:
    """`manage.py serve` as a process. `stop` is Ctrl-C."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.port = _free_port()
        self.origin = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Start it and return the address that it prints."""
        output = self.home.with_name(f"{self.home.name}.log")
        environment = {**os.environ, "HOTFLEET_HOME": str(self.home), "HOTFLEET_PORT": str(self.port)}
        environment.pop("DJANGO_SETTINGS_MODULE", None)
        environment.pop("DATABASE_URL", None)
        with output.open("wb") as file:
            self._process = subprocess.Popen(
                [sys.executable, "manage.py", "serve"],
                cwd=TOP,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        found: list[str] = []

        def is_ready() -> bool:
            found[:] = re.findall(rf"{self.origin}/\S*", output.read_text())
            return bool(found)

        wait_until(is_ready, timeout_s=180, what=f"the address of the console ({output})")
        return found[0]

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(180)
            self._process = None

    @property
    def log(self) -> str:
        return self.home.with_name(f"{self.home.name}.log").read_text()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
