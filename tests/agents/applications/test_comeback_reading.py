"""What the owner of the data wrote is read as he reads it: he may have put a link to anything there."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from agents.applications import comebacks
from agents.applications.comebacks import Home
from agents.applications.postgresql_start import keep_by_hand

pytestmark = pytest.mark.usefixtures("needs_root")  # a comeback is root's work
OWNER = 65534
HEAD = 'set -u\numask 077\nhold=$1\nSTART_WAIT=10\nmkdir -p "$hold"\n'


@pytest.fixture
def ground() -> Iterator[Path]:
    """A folder that every user may enter, unlike those of pytest."""
    with TemporaryDirectory(prefix="comeback-reading-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "secret").write_text("of root alone\n")
        (folder / "secret").chmod(0o600)
        (folder / "data").mkdir(mode=0o700)
        os.chown(folder / "data", OWNER, OWNER)
        yield folder


@pytest.fixture
def server(ground: Path) -> Iterator[None]:
    """What works in the data directory, as a server does."""
    child = subprocess.Popen(["sleep", "600"], cwd=ground / "data")
    try:
        (ground / "data" / "postmaster.pid").write_text(f"{child.pid}\n")
        yield
    finally:
        child.kill()
        child.wait()


def note(ground: Path) -> int:
    keeper = keep_by_hand("it", str(ground / "data"), "nobody")
    words = ["/bin/sh", "-c", f"{HEAD}{keeper.functions}\nkeeper_note", "hotfleet", str(ground / "hold")]
    return subprocess.run(words, check=False).returncode


@pytest.mark.usefixtures("server")
def test_the_words_of_a_server_are_kept(ground: Path) -> None:
    (ground / "data" / "postmaster.opts").write_text('/usr/bin/postgres "-D" "/x" "-p" "1"\n')
    assert note(ground) == 0
    assert (ground / "hold" / "options").read_text() == '"-D" "/x" "-p" "1"\n'


@pytest.mark.usefixtures("server")
def test_a_link_for_the_words_of_a_server_tells_nothing(ground: Path) -> None:
    (ground / "data" / "postmaster.opts").symlink_to(ground / "secret")
    assert note(ground) != 0
    assert not (ground / "hold" / "names").exists()
    assert "root" not in (ground / "hold" / "options").read_text()


@pytest.mark.parametrize(("application", "name"), [("postgresql", "startup.log"), ("mariadb", "it.err")])
def test_a_log_is_read_as_its_owner_reads_it(ground: Path, application: str, name: str) -> None:
    data, log = ground / "data", ground / "data" / name
    since = ground / "since"
    since.touch()
    os.utime(since, (0, 0))
    home = Home(application, "name of nobody", "it", (str(data),), "nobody", None, False)
    command = comebacks.comebacks()[application].log(home, str(since))
    assert command is not None
    shutil.copy(ground / "secret", log)
    log.chmod(0o600)
    assert "root" not in subprocess.run(command.argv, capture_output=True, text=True).stdout
    os.chown(log, OWNER, OWNER)
    assert "of root alone\n" in subprocess.run(command.argv, capture_output=True, text=True).stdout
