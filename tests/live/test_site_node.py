"""A second worker process with a home, a storage and queues of its own, beside a whole console. 20 s each."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.live.flows import picture_of
from tests.live.ground import Device, wait_until
from tests.live.serving import TOP
from tests.live.site import Enrolled, LiveSite, run_site

pytestmark = [pytest.mark.slow, pytest.mark.full]


def manage(home: Path, *words: str, text: str = "") -> str:
    """Run a command as somebody at the terminal of a machine with this home does; return what it prints."""
    done = subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=TOP, env=environment(home), input=text, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def environment(home: Path) -> dict[str, str]:
    names = ("DJANGO_SETTINGS_MODULE", "DATABASE_URL", "REDIS_URL")
    own = {name: value for name, value in os.environ.items() if name not in names}
    return own | {
        "HOTFLEET_HOME": str(home),
        "HOTFLEET_BULK_WORKERS": "1",
        "HOTFLEET_INTERACTIVE_WORKERS": "1",
    }


@contextlib.contextmanager
def working(home: Path) -> Iterator[Path]:
    """The node at work; yield the file of what it says. The end is Ctrl-C."""
    said = home.with_name("node.log")
    with said.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "work"],
            cwd=TOP, env=environment(home), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    try:
        wait_until(lambda: "Ready." in said.read_text(), timeout_s=180, what=f"the node ({said})")
        yield said
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(180)


def move_to_node(site: LiveSite, enrolled: Enrolled, storage: Path) -> None:
    """Have a device's repository, which was not made yet, lie in the storage of the node."""
    with contextlib.closing(sqlite3.connect(site.home / "hotfleet.sqlite3", timeout=60)) as database:
        (key,) = database.execute(
            "SELECT id FROM repositories_storage WHERE path = ?", (str(storage),)
        ).fetchone()
        database.execute(
            "UPDATE repositories_repository SET storage_id = ? WHERE device_id ="
            " (SELECT id FROM fleet_device WHERE slug = ?)",
            (key, enrolled.slug),
        )
        database.commit()
    enrolled.repository = storage / enrolled.repository.name


def test_repositories_and_their_runs_live_on_a_node(
    live_ground: None, device: Device, tmp_path: Path
) -> None:
    source = device.btrfs / "data"
    source.mkdir()
    (source / "file").write_bytes(os.urandom(3_000_000))
    home, storage = tmp_path / "cellar", device.directory / "cellar"
    home.mkdir(mode=0o700)
    with run_site(tmp_path / "home") as site:
        told = manage(site.home, "node", "add", "cellar", "--same-machine")
        manage(home, "join", text=told)
        manage(home, "join", "--claim", "--storage", str(storage))
        enrolled = site.enrol(device, source)
        move_to_node(site, enrolled, storage)

        number = enrolled.ask("backup")  # nobody works there yet: it waits, and the console goes on
        site.wait_for_state(enrolled.ask("scan"), "queued")
        assert site.run(number)["state"] == "queued"
        with working(home) as said:
            run = site.wait_for_state(number, "succeeded")
            assert run["worker"].startswith("cellar@")
            assert (enrolled.repository / "config").is_file()
            (point,) = enrolled.points()
            browse = site.do("ask_folder", point=point["id"], folder=str(source))
            assert site.wait_for_state(browse, "succeeded")["worker"].startswith("cellar@")
            assert site.do("read_folder", point=point["id"], folder=str(source)) == ["file"]
            target = device.directory / "restored"
            assert enrolled.restore(point, target)["worker"].startswith("cellar@")
            assert picture_of(target) == picture_of(source)
            enrolled.wait_until_clean()
            manage(site.home, "node", "list")
        assert "Traceback" not in said.read_text()
        assert site.rows("SELECT 1 FROM repositories_node WHERE slug = 'cellar' AND heard_at IS NOT NULL")


def test_what_lies_on_a_node_is_restored_onto_a_device_of_the_console(
    make_device: Callable[..., Device], tmp_path: Path
) -> None:
    first, second = make_device(), make_device()
    source, target = first.btrfs / "data", second.btrfs / "target"
    for folder in (source, target):
        folder.mkdir()
    (source / "file").write_bytes(os.urandom(3_000_000))
    (target / "file").write_text("of the second device")
    (target / "other").write_text("stays")
    before = picture_of(target)
    home, storage = tmp_path / "cellar", first.directory / "cellar"
    home.mkdir(mode=0o700)
    with run_site(tmp_path / "home") as site:
        manage(home, "join", text=manage(site.home, "node", "add", "cellar", "--same-machine"))
        manage(home, "join", "--claim", "--storage", str(storage))
        far, near = site.enrol(first, source), site.enrol(second, target)
        move_to_node(site, far, storage)
        with working(home) as said:
            site.wait_for_state(far.ask("backup"), "succeeded")
            site.wait_for_state(near.ask("backup"), "succeeded")
            (point,) = far.points()
            number = site.do(
                "ask_elsewhere", point=point["id"], device=near.slug, target=str(target), replaces=True
            )
            run = site.wait_for_state(number, "succeeded")
            assert run["worker"].startswith("cellar@"), "the restore itself is the node's"
            assert (target / "file").read_bytes() == (source / "file").read_bytes()
            assert (target / "other").read_text() == "stays"
            undo = site.wait_for_state(site.do("ask_to_undo", number=number), "succeeded")
            assert not undo["worker"].startswith("cellar@"), "what was saved lies with the device"
            assert picture_of(target) == before
            near.wait_until_clean()
        assert "Traceback" not in said.read_text()


def test_another_machine_takes_the_place_of_a_node_at_once(
    live_ground: None, device: Device, tmp_path: Path
) -> None:
    source = device.btrfs / "data"
    source.mkdir()
    (source / "file").write_bytes(os.urandom(1_000_000))
    lost, found, storage = tmp_path / "lost", tmp_path / "found", device.directory / "cellar"
    for home in (lost, found):
        home.mkdir(mode=0o700)
    with run_site(tmp_path / "home") as site:
        manage(lost, "join", text=manage(site.home, "node", "add", "cellar", "--same-machine"))
        manage(lost, "join", "--claim", "--storage", str(storage))
        enrolled = site.enrol(device, source)
        move_to_node(site, enrolled, storage)
        with working(lost) as said:
            site.wait_for_state(enrolled.ask("backup"), "succeeded")
            told = manage(site.home, "node", "add", "cellar", "--again", "--same-machine")
            number = enrolled.ask("backup")
            wait_until(lambda: "beat ended" in said.read_text(), timeout_s=180, what=f"its end ({said})")
            assert "does not know this machine as the node" in said.read_text()
            assert "Traceback" not in said.read_text()
            assert site.run(number)["state"] == "queued"
        said.unlink()
        manage(found, "join", text=told)
        manage(found, "join", "--claim", "--storage", str(storage))
        with working(found):
            site.wait_for_state(number, "succeeded")
        assert len(enrolled.points()) == 2
        enrolled.wait_until_clean()
