"""What `mariadb-check` says of a stream: the mark of a client that had a table open is no damage there."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from agents.applications import mariadb_trial

SHELL = Path(mariadb_trial.__file__).with_suffix(".sh")
ONE = "warning  : 1 client is using or hasn't closed the table properly"
TWO = "warning  : 2 clients are using or haven't closed the table properly"
WHOLE = "status   : OK"


def forgive(*lines: str) -> list[str]:
    words = ["sh", "-c", f". {SHELL}; forgive_open"]
    said = subprocess.run(words, input="\n".join(lines) + "\n", capture_output=True, text=True, check=True)
    return said.stdout.splitlines()


@pytest.mark.parametrize("mark", [ONE, TWO])
def test_an_open_table_that_was_read_whole_is_whole(mark: str) -> None:
    assert forgive("app.a OK", "app.b", mark, WHOLE, "app.c OK") == ["app.a OK", "app.b OK", "app.c OK"]


@pytest.mark.parametrize(
    "more",
    [
        ("error    : Found key at page 1024 that points to record outside datafile", "error    : Corrupt"),
        ("warning  : Size of datafile is: 40       Should be: 20", WHOLE),
        ("error    : Corrupt",),
    ],
)
def test_whatever_else_is_said_stays(more: tuple[str, ...]) -> None:
    said = ["app.a OK", "app.b", ONE, *more, "app.c OK"]
    assert forgive(*said) == said


def test_notes_stay_with_their_table() -> None:
    said = ["app.a", "note     : The storage engine for the table doesn't support check", "app.b OK"]
    assert forgive(*said) == said
