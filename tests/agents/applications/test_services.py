"""Stopping services: names, and an undo that is safe whenever it runs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from agents.applications.services import stop_around, watch_standing
from tests.live.machine import wait_until


@pytest.mark.parametrize(
    "name",
    [
        "",
        "-x",
        "a b",
        "a\nb",
        "../x",
        "a/b",
        ".x",
        "container:",
        "container:-a",
        "a" * 257,
        "db@*",
        "a?",
        "[ab]",
    ],
)
def test_what_is_no_name_of_a_service_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not the name"):
        stop_around((name,))


def test_names_of_units_and_containers_are_words_of_the_shell() -> None:
    quiesce = stop_around(("postgresql@15-main.service", "container:my_db", "it's"))
    assert quiesce.hold.endswith("services_stop postgresql@15-main.service container:my_db 'it'\"'\"'s'")
    assert quiesce.is_stop


@pytest.mark.parametrize("shell", [("dash",), ("busybox", "sh")])
def test_an_undo_whose_hold_never_ran_succeeds_and_keeps_the_hold_from_beginning(
    tmp_path: Path, shell: tuple[str, ...]
) -> None:
    quiesce = stop_around(("no-such-service-anywhere",))
    hold = tmp_path / "hold"
    for _ in range(2):
        subprocess.run([*shell, "-c", f"set -u\nhold=$1\n{quiesce.undo}", "sh", str(hold)], check=True)
    late = 'hold=$1; mkdir -m 0700 -- "$hold"'
    assert subprocess.run([*shell, "-c", late, "sh", str(hold)], stderr=subprocess.DEVNULL).returncode != 0


@pytest.mark.parametrize("shell", [("dash",), ("busybox", "sh")])
def test_who_died_at_work_does_not_keep_the_undo_waiting(tmp_path: Path, shell: tuple[str, ...]) -> None:
    quiesce = stop_around(("no-such-service-anywhere",))
    dead = subprocess.Popen(["true"])
    dead.wait()
    (tmp_path / "busy").write_text(f"{dead.pid}\n")
    (tmp_path / "ran").touch()
    words = [*shell, "-c", f"set -u\nhold=$1\n{quiesce.undo}", "sh", str(tmp_path)]
    subprocess.run(words, check=True, timeout=60)
    assert not (tmp_path / "busy").exists()


@pytest.mark.parametrize("shell", [("dash",), ("busybox", "sh")])
def test_a_server_that_is_started_while_its_files_are_read_is_noticed(
    tmp_path: Path, shell: tuple[str, ...]
) -> None:
    """By its name and by where it works, in the same shell and in another, whoever started it."""
    place, elsewhere, hold = tmp_path / "pg data", tmp_path / "elsewhere", tmp_path / "hold"
    server = tmp_path / "postgres"
    shutil.copy(shutil.which("sleep") or "", server)
    for each in (place, elsewhere, hold):
        each.mkdir()
    quiesce = watch_standing("PG", "", (), (str(place),))

    def run(source: str) -> int:
        body = f"set -u\nhold=$1\nwork() {{\n{source}\n}}\nwork"
        return subprocess.run([*shell, "-c", body, "sh", str(hold)], stderr=subprocess.DEVNULL).returncode

    assert run(quiesce.undo) == 0, "nobody began"
    assert run(f"{quiesce.hold} && {quiesce.release}") == 0
    assert run(quiesce.undo) == 0
    for folder, status in ((elsewhere, 0), (place, 3)):
        process = subprocess.Popen([server, "60"], cwd=folder)
        line = Path(f"/proc/{process.pid}/cmdline")
        wait_until(lambda line=line: bytes(server) in line.read_bytes())  # Popen returns a moment before
        try:
            assert run(quiesce.undo) == status
            assert run(quiesce.hold) == status
        finally:
            process.kill()
            process.wait()


@pytest.mark.parametrize("shell", [("dash",), ("busybox", "sh")])
def test_a_service_that_nobody_can_ask_is_not_called_standing(tmp_path: Path, shell: tuple[str, ...]) -> None:
    quiesce = watch_standing("PG", "no-such-service-anywhere", (), (str(tmp_path),))
    words = [*shell, "-c", f"hold=$1\nwork() {{\n{quiesce.hold}\n}}\nwork", "sh", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode != 0 and "nobody knows whether no-such-service-anywhere runs" in done.stderr
