"""A whole console as processes (`manage.py serve`), with real devices: what a test does to it and sees of it.

What a person does goes through `tests.live.desk`; what happened is read from the database's file.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agents.ssh import authorized_keys_line
from tests.backupsite.serve.processes import is_running, list_descendants
from tests.live.flows import wait_until_clean
from tests.live.ground import Device, wait_until
from tests.live.serving import TOP, Site

FINAL = {"succeeded", "warnings", "failed", "errored", "cancelled", "lost"}


class LiveSite(Site):
    """A console and the desk beside it."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.secrets: dict[str, str] = {}
        self._desk: subprocess.Popen[str] | None = None
        self._known = 0

    def start(self) -> str:
        address = super().start()
        environment = {**os.environ, "HOTFLEET_HOME": str(self.home), "HOTFLEET_PORT": str(self.port)}
        environment["DJANGO_SETTINGS_MODULE"] = "backupsite.settings"
        self._desk = subprocess.Popen(
            [sys.executable, "-m", "tests.live.desk"],
            cwd=TOP,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if not self.secrets:
            self.secrets = self.do("set_up")
        return address

    def stop(self) -> None:
        self._close_desk()
        super().stop()

    def _close_desk(self) -> None:
        if self._desk is not None and self._desk.stdin is not None:
            self._desk.stdin.close()
            self._desk.wait(60)
            self._desk = None

    def cut_power(self) -> None:
        """End every process of the console at the same moment, none of them with a last word."""
        if self._process is None:
            raise AssertionError("the console does not run")
        processes = [self._process.pid, *list_descendants(self._process.pid)]
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for process in processes:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, number)
        self._close_desk()  # after the moment: its end takes its time
        self._process.wait(60)
        self._process = None
        wait_until(lambda: not any(map(is_running, processes)), what="the end of every process")

    def kill_supervisor(self) -> None:
        """End the first process alone, with SIGKILL, and wait until the others have ended by themselves."""
        if self._process is None:
            raise AssertionError("the console does not run")
        processes = list_descendants(self._process.pid)
        self._process.kill()
        self._close_desk()
        self._process.wait(60)
        self._process = None
        wait_until(lambda: not any(map(is_running, processes)), timeout_s=60, what="the end of its children")

    def do(self, command: str, /, **what: Any) -> Any:
        """Do what a person does. Raise AssertionError with the traceback when it fails."""
        if self._desk is None or self._desk.stdin is None or self._desk.stdout is None:
            raise AssertionError("nobody is at the desk")
        self._desk.stdin.write(json.dumps({"do": command, **what}) + "\n")
        self._desk.stdin.flush()
        line = self._desk.stdout.readline()
        answer = json.loads(line) if line else {"error": "the desk ended"}
        assert "error" not in answer, answer["error"]
        return answer["answer"]

    def rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        """Read the database as it is now."""
        file = self.home / "hotfleet.sqlite3"
        with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=60)) as database:
            database.row_factory = sqlite3.Row
            return list(database.execute(query, values))

    def run(self, number: int) -> sqlite3.Row:
        (row,) = self.rows("SELECT * FROM runs_run WHERE number = ?", number)
        return row

    def wait_for_state(self, number: int, *states: str, timeout_s: float = 180) -> sqlite3.Row:
        """Wait until a run has one of these states. Raise AssertionError when it ends in another one."""

        def is_there() -> bool:
            state = self.run(number)["state"]
            assert state in states or state not in FINAL, describe(self.run(number))
            return state in states

        wait_until(is_there, timeout_s=timeout_s, what=f"{states} of run {number}")
        return self.run(number)

    def wait_for_end(self, number: int, *, timeout_s: float = 180) -> sqlite3.Row:
        wait_until(
            lambda: self.run(number)["state"] in FINAL, timeout_s=timeout_s, what=f"the end of run {number}"
        )
        return self.run(number)

    def enrol(self, device: Device, *paths: Path, storage: Path | None = None) -> Enrolled:
        """Add a device with approved host keys and a policy for `paths`."""
        self._known += 1
        enrolled = Enrolled(self, device, f"{device.name}-{self._known}", storage)
        enrolled.pin()
        enrolled.protect(*paths)
        return enrolled


class Enrolled:
    """A device of the test ground that a console knows, with a repository in its own directory."""

    def __init__(self, site: LiveSite, device: Device, name: str, storage: Path | None = None) -> None:
        self.site = site
        self.device = device
        self.id: str = site.secrets["console_id"]
        self.authorize()
        added = site.do(
            "add_device",
            name=name,
            address=device.address,
            port=device.port,
            user="root",
            storage=str(storage or device.directory / f"storage-{name}"),
        )
        self.slug: str = added["slug"]
        self.repository = Path(added["repository"])
        self.password: str = added["password"]

    def authorize(self, user: str = "root") -> None:
        self.device.authorize(user, authorized_keys_line(self.site.secrets["public_line"]))

    def pin(self) -> None:
        files = [self.device.directory / f"host_{each}.pub" for each in ("ed25519", "ecdsa", "rsa")]
        keys = [file.read_text().split()[:2] for file in files]
        self.site.do("note_keys", device=self.slug, keys=keys)
        self.site.do("approve_keys", device=self.slug)

    def protect(self, *paths: Path, schedule: str = "manual", fallback: str = "fail") -> None:
        named = [str(path) for path in paths]
        self.site.do("set_policy", device=self.slug, paths=named, schedule=schedule, fallback=fallback)

    def ask(self, kind: str) -> int:
        """Ask for a run; return its number."""
        return int(self.site.do("ask", kind=kind, device=self.slug))

    def back_up(self) -> sqlite3.Row:
        """Make a backup that succeeds; return its run."""
        return self.site.wait_for_state(self.ask("backup"), "succeeded")

    def runs(self) -> list[sqlite3.Row]:
        """Return the device's runs, oldest first, but for checks and pruning: the console does them when it
        likes."""
        return self.site.rows(
            "SELECT r.* FROM runs_run r JOIN fleet_device d ON d.id = r.device_id WHERE d.slug = ? "
            "AND r.kind NOT IN ('check', 'prune') ORDER BY number",
            self.slug,
        )

    def points(self) -> list[sqlite3.Row]:
        """Return the restore points in the catalogue, oldest first."""
        return self.site.rows(
            "SELECT p.* FROM recovery_restorepoint p JOIN fleet_device d ON d.id = p.device_id "
            "WHERE d.slug = ? ORDER BY made_at",
            self.slug,
        )

    def notices(self) -> list[sqlite3.Row]:
        return self.site.rows("SELECT * FROM alerts_notice WHERE title LIKE ?", f"{self.slug}:%")

    def stored_bytes(self) -> int:
        """Return the size of the data in the repository, whether an index knows it or not."""
        total = 0
        for file in (self.repository / "data").rglob("*"):
            with contextlib.suppress(FileNotFoundError):
                total += file.stat().st_size if file.is_file() else 0
        return total

    def wait_until_stored(self, number: int, size: int) -> None:
        """Wait until a run has sent so many bytes. Raise AssertionError when it ends before."""
        before = self.stored_bytes()

        def is_stored() -> bool:
            assert self.site.run(number)["state"] not in FINAL, describe(self.site.run(number))
            return self.stored_bytes() >= before + size

        wait_until(is_stored, timeout_s=180, what=f"{size:,} stored bytes")

    def wait_until_clean(self, timeout_s: float = 60, *, is_connected: bool = False) -> None:
        wait_until_clean(self, timeout_s=timeout_s, is_connected=is_connected)

    def ask_restore(self, point: sqlite3.Row, target: Path) -> int:
        """Ask for a whole restore point in a folder of the device; return the run's number."""
        return int(self.site.do("ask_files", point=point["id"], folder=point["source"], target=str(target)))

    def restore(self, point: sqlite3.Row, target: Path) -> sqlite3.Row:
        """Restore a whole restore point into a new folder of the device; return the run."""
        return self.site.wait_for_state(self.ask_restore(point, target), "succeeded")

    def forget(self) -> None:
        """Cancel what waits, so that nobody tries to reach a device that is gone."""
        for run in self.runs():
            if run["state"] not in FINAL:
                self.site.do("cancel", number=run["number"])
                self.site.wait_for_end(run["number"])


def describe(run: sqlite3.Row) -> str:
    """Return what a run says about its end."""
    words = ("number", "kind", "state", "phase", "attempt", "error_code", "error_text", "error_detail")
    return " · ".join(f"{word}: {run[word]}" for word in words)


@contextlib.contextmanager
def run_site(home: Path, *, log_level: str = "INFO") -> Iterator[LiveSite]:
    """Start a console in a new home and stop it at the end."""
    home.mkdir(mode=0o700)
    before = os.environ.get("HOTFLEET_LOG_LEVEL")
    os.environ["HOTFLEET_LOG_LEVEL"] = log_level
    site = LiveSite(home)
    try:
        site.start()
        yield site
    finally:
        site.stop()
        if before is None:
            del os.environ["HOTFLEET_LOG_LEVEL"]
        else:
            os.environ["HOTFLEET_LOG_LEVEL"] = before
