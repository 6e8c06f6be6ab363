"""Stopping services: names, and an undo that is safe whenever it runs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from agents.applications.services import stop_around


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
    subprocess.run(words, check=True, timeout=5)
    assert not (tmp_path / "busy").exists()
