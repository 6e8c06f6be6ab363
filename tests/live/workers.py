"""A backup in a process of its own, which a test can stop and kill at any moment."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from tests.live.flows import Console
from tests.live.ground import wait_until


class Worker:
    """The process. `lines` is what it said."""

    def __init__(
        self,
        console: Console,
        source: Path,
        *,
        services: tuple[str, ...] = (),
        downtime_s: int = 60,
        module: str = "backup_child",
        more: Mapping[str, object] | None = None,
    ) -> None:
        """Back up `source`, cold when there are `services` to stop; or what `module` does with `more`."""
        device = console.device
        self.run_id = secrets.token_hex(16)
        order = {
            "repository": str(console.place.path),
            "journals": str(console.place.journals),
            "password": console.password.reveal(),
            "console": console.id,
            "run": self.run_id,
            "device": device.name,
            "source": str(source),
            "cold": {"services": services, "longest_downtime_s": downtime_s} if services else None,
            "binary": str(console.binary.path),
            "address": device.address,
            "port": device.port,
            "key": device.key_pair.private_key.reveal(),
            "host_keys": [{"type": key.key_type, "blob": key.blob.hex()} for key in device.host_keys],
            **(more or {}),
        }
        # What a killed one leaves on its own machine goes with the test's folder.
        environment = {**os.environ, "TMPDIR": str(console.place.path.parent)}
        words = [sys.executable, "-m", f"tests.live.{module}"]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True, env=environment)
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.send(json.dumps(order) + "\n")

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.strip())

    def send(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text)
        self.process.stdin.flush()

    @property
    def is_over(self) -> bool:
        return self.process.poll() is not None

    def wait_for(self, line: str) -> None:
        wait_until(lambda: line in self.lines or self.is_over, timeout_s=180, what=line)
        if self.is_over:
            self._reader.join(60)
        assert line in self.lines, self.lines

    def wait_until_stored(self, size: int) -> None:
        def is_stored() -> bool:
            stored = [int(line.split()[1]) for line in self.lines if line.startswith("stored ")]
            return max(stored, default=0) >= size or self.is_over

        wait_until(is_stored, timeout_s=180, what=f"{size} stored bytes")
        assert not self.is_over, self.lines

    def close(self) -> None:
        if not self.is_over:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait()
        self._reader.join()
