"""A console is lost with its machine, and comes back from its storage and the printed kit alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.live.flows import picture_of
from tests.live.ground import Device, wait_until
from tests.live.serving import TOP
from tests.live.site import Enrolled, LiveSite, run_site

pytestmark = pytest.mark.slow


def recover(home: Path, storage: Path, password: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HOTFLEET_HOME": str(home)}
    for name in ("DATABASE_URL", "DJANGO_SETTINGS_MODULE"):
        environment.pop(name, None)
    return subprocess.run(
        [sys.executable, "manage.py", "recover", str(storage)],
        cwd=TOP, env=environment, input=f"{password}\n", capture_output=True, text=True, check=False,
    )  # fmt: skip


def copy_console(site: LiveSite) -> None:
    """Have the console copy itself, and wait until a copy that began after that is there."""
    site.do("copy_console")

    def is_copied() -> bool:
        rows = site.rows("SELECT mark FROM repositories_consolerepository")
        return bool(rows) and all(row["mark"] for row in rows)

    wait_until(is_copied, timeout_s=180, what="a copy of the console")


@dataclass(frozen=True)
class Loss:
    """A console that was lost, with what is left of it."""

    site: LiveSite
    enrolled: Enrolled
    source: Path
    old_machine: Path

    @property
    def storage(self) -> Path:
        return self.enrolled.repository.parent

    @property
    def password(self) -> str:
        return self.site.secrets["recovery_password"]


@pytest.fixture
def loss(live_ground: None, device: Device, tmp_path: Path) -> Loss:
    """A console with a restore point and a copy of itself, which then is not where it was."""
    source = device.btrfs / "data"
    source.mkdir()
    (source / "file").write_bytes(os.urandom(1_000_000))
    home, old_machine = tmp_path / "lost", tmp_path / "old"
    with run_site(home) as site:
        enrolled = site.enrol(device, source)
        enrolled.back_up()
        site.do("add_person", name="grace", password="correct horse battery")
        copy_console(site)
        (tmp_path / "sheet").write_text(site.do("take_sheet"))
    home.rename(old_machine)
    return Loss(site, enrolled, source, old_machine)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The home of the console that takes its place."""
    path = tmp_path / "new"
    path.mkdir(mode=0o700)
    return path


def test_a_lost_console_comes_back_by_the_kit_and_its_storage(loss: Loss, home: Path, tmp_path: Path) -> None:
    _restore_by_hand(loss, (tmp_path / "sheet").read_text(), tmp_path)
    _expect_refusals(home, loss.storage, loss.password)
    done = recover(home, loss.storage, loss.password)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 repositories open" in done.stdout and "MISSING" not in done.stdout
    assert loss.password not in done.stdout + done.stderr
    assert "is in use" in recover(home, loss.storage, loss.password).stderr
    _expect_a_working_console(home, loss)


@pytest.mark.full
def test_the_old_console_does_not_work_any_more(loss: Loss, home: Path) -> None:
    """It was not off after all: it reaches neither the storage nor the device."""
    assert recover(home, loss.storage, loss.password).returncode == 0
    old = LiveSite(loss.old_machine)
    old.secrets = loss.site.secrets
    try:
        old.start()
        loss.enrolled.site = old
        run = old.wait_for_end(loss.enrolled.ask("backup"))
        assert (run["state"], run["error_code"]) == ("failed", "storage-missing"), run["error_text"]
    finally:
        old.stop()


def _restore_by_hand(loss: Loss, sheet: str, folder: Path) -> None:
    """Type what the sheet says, with the restic of the kit's password and nothing of the console."""
    (folder / "recovery-password").write_text(f"{loss.password}\n")
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(folder)}

    def shell(line: str) -> str:
        words = ["sh", "-ec", line]
        done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    devices = [line.strip() for line in sheet.partition("THE DEVICES")[2].splitlines()]
    listing = shell(next(line for line in devices if line.endswith(" snapshots")))
    found = re.search(r"^([0-9a-f]{8}) ", listing, re.M)
    assert found is not None and str(loss.source) in listing
    line = next(line for line in devices if " restore ID " in line)
    target = folder / "restored-by-hand"
    shell(line.replace(" ID ", f" {found[1]} ").replace("/srv/restored", str(target)))
    assert picture_of(target / str(loss.source).lstrip("/")) == picture_of(loss.source)


def _expect_refusals(home: Path, storage: Path, password: str) -> None:
    wrong = recover(home, storage, password.replace(password[0], "2" if password[0] != "2" else "3", 1))
    assert wrong.returncode == 1 and "not the password of the recovery kit" in wrong.stderr
    nothing = recover(home, storage.parent, password)
    assert nothing.returncode == 1 and "no backup of a console" in nothing.stderr
    assert {path.name for path in home.iterdir()} <= {"console-id", "secret-key"}


def _expect_a_working_console(home: Path, loss: Loss) -> None:
    site, enrolled = LiveSite(home), loss.enrolled
    site.secrets = loss.site.secrets
    try:
        assert site.start().endswith("/login/")
        enrolled.site, enrolled.id = site, (home / "console-id").read_text().strip()
        assert enrolled.id != loss.site.secrets["console_id"]
        _expect_nothing_by_schedule(site, enrolled)
        (point,) = enrolled.points()
        target = enrolled.device.directory / "restored-by-the-new-console"
        enrolled.restore(point, target)
        assert picture_of(target) == picture_of(loss.source)
        assert site.do("confirm_recovery") == 1
        enrolled.back_up()
        assert len(enrolled.points()) == 2
    finally:
        site.stop()


def _expect_nothing_by_schedule(site: LiveSite, enrolled: Enrolled) -> None:
    enrolled.protect(enrolled.device.btrfs / "data", schedule="every")
    site.do("make_due", device=enrolled.slug)
    ticks = "SELECT ticked_at FROM runs_ticklease WHERE ticked_at IS NOT NULL"
    before = [row[0] for row in site.rows(ticks)]
    wait_until(lambda: [row[0] for row in site.rows(ticks)] != before, timeout_s=120, what="a tick")
    assert [run["kind"] for run in enrolled.runs()].count("backup") == 1
    enrolled.protect(enrolled.device.btrfs / "data", schedule="manual")
