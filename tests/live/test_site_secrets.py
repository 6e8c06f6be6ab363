"""No secret of a whole console reaches its database, Redis, a log or a command line."""

from __future__ import annotations

import contextlib
import os
import threading
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.ground import Device
from tests.live.site import LiveSite, run_site

pytestmark = pytest.mark.slow


@pytest.fixture
def site(live_ground: None, tmp_path: Path) -> Iterator[LiveSite]:
    # Whoever looks for a fault asks for this level: that may not cost the secrets.
    with run_site(tmp_path / "home", log_level="DEBUG") as site:
        yield site


class Watcher:
    """Reads every command line of this machine again and again, and what restic on a device was given."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.command_lines: set[bytes] = set()
        self.given: dict[bytes, set[bytes]] = {}

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            for process in os.listdir("/proc"):
                if process.isdigit():
                    self.command_lines.add(_read(f"/proc/{process}/cmdline"))
            for pid in self._device.session_pids():
                if b"restic" in _read(f"/proc/{pid}/cmdline"):
                    self._take_environment(_read(f"/proc/{pid}/environ"))

    def _take_environment(self, environment: bytes) -> None:
        for entry in environment.split(b"\0"):
            name, _, value = entry.partition(b"=")
            self.given.setdefault(name, set()).add(value)


def _read(path: str) -> bytes:
    with contextlib.suppress(OSError):
        return Path(path).read_bytes()
    return b""


def test_no_secret_reaches_a_disk_a_log_or_a_command_line(site: LiveSite, device: Device) -> None:
    source = device.btrfs / "data"
    source.mkdir()
    (source / "large").write_bytes(os.urandom(100_000_000))
    enrolled = site.enrol(device, source)
    # sudo logs its words: a user who needs it is the harder case.
    user = device.make_user(may_sudo=True)
    enrolled.authorize(user)
    site.do("change_user", device=enrolled.slug, user=user)
    with Watcher(device) as watcher:
        site.wait_for_state(enrolled.ask("probe"), "succeeded")
        enrolled.back_up()
        enrolled.restore(enrolled.points()[0], device.directory / "restored")

    run_passwords = watcher.given[b"RESTIC_PASSWORD"] | watcher.given[b"RESTIC_REST_PASSWORD"]
    assert len(run_passwords) == 4, "two runs, each with a key and a door of its own"
    # The first lines of an OpenSSH key hold its public half.
    private_lines = site.secrets["private_key"].encode().split(b"\n")[3:5]
    secrets = {
        enrolled.password.encode(),
        site.secrets["recovery_password"].encode(),
        *private_lines,
        *run_passwords,
    }
    assert all(len(secret) > 30 for secret in secrets), "too short to look for"
    assert not [line for line in watcher.command_lines if any(secret in line for secret in secrets)]
    places = _read_places(site, device, enrolled.repository)
    assert not [name for name, content in places.items() if any(secret in content for secret in secrets)]

    # The same search finds what is meant to be there.
    assert any(b"restic" in line and b"backup" in line for line in watcher.command_lines)
    assert (
        b"AAAA" in places["the database"] and site.secrets["public_line"].encode() in places["the database"]
    )
    # A job is a wake-up: which run is whose turn is in the database alone.
    run_id = uuid.UUID(enrolled.runs()[-1]["id"])
    queued = b"".join(content for name, content in places.items() if "appendonly" in name)
    assert b"rq:job:run-" in queued and b"bulk" in places["the jobs"]
    assert not any(each.encode() in queued + places["the jobs"] for each in (run_id.hex, str(run_id)))
    assert b"Accepted publickey" in places["the log of sshd"]
    assert b"DEBUG" in places["the log of the console"]


def _read_places(site: LiveSite, device: Device, repository: Path) -> dict[str, bytes]:
    """Return everything that the console wrote, by its name; its keys are what opens the sealed secrets."""
    files = [file for top in (site.home, repository.parent) for file in top.rglob("*") if file.is_file()]
    kept_out = (site.home / "keys", site.home / "static", repository / "data")
    places = {
        str(file): _read(str(file))  # the console goes on: a temporary file may be gone
        for file in files
        if not any(file.is_relative_to(each) for each in kept_out)
    }
    # Long values are torn apart by the pages of the file.
    rows = site.rows("SELECT name FROM sqlite_master WHERE type = 'table'")
    everything = [tuple(row) for (table,) in rows for row in site.rows(f'SELECT * FROM "{table}"')]
    places["the database"] = repr(everything).encode()
    # RQ stores what a job calls compressed.
    jobs = b"".join(content for name, content in places.items() if "appendonly" in name)
    places["the jobs"] = _inflate(jobs)
    places["the log of the console"] = site.log.encode()
    places["the log of sshd"] = device.sshd_log.encode()
    return places


def _inflate(content: bytes) -> bytes:
    """Return everything in there that zlib can read."""
    found, start = [], content.find(b"x\x9c")
    while start >= 0:
        with contextlib.suppress(zlib.error):
            found.append(zlib.decompressobj().decompress(content[start : start + 100_000]))
        start = content.find(b"x\x9c", start + 1)
    return b"\n".join(found)
