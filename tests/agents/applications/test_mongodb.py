"""MongoDB: what is made of its settings and answers (documented forms; no server was asked)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from agents.applications import NOT_HELD, Ground, Patience
from agents.applications.mongodb import MongoDb
from agents.errors import PlanRefused, ProtocolBroken
from agents.facts import Instance
from tests.agents.facts.samples import make_facts

CASE = Path(__file__).resolve().parents[2] / "cases" / "mongodb" / "look.bin"
ATOMIC = Ground(True, "one btrfs snapshot holds all of its files", "btrfs snapshot")
SCATTERED = Ground(False, "its files lie on 2 volumes")
# Counts locks in a file as the server does, and looks at what it is asked for.
MONGOSH = """#!/bin/sh
for word; do :; done
case $word in
  *'quit(3)'*) [ ! -s locks ] || exit 3; echo 1 >locks; [ ! -e killed ] || kill -9 $$ ;;
  *': 3)') [ -s locks ] || exit 3; : >locks ;;
  *fsyncUnlock*) [ ! -s locks ] || : >locks ;;
  *inprog*) [ -s locks ] ;;
esac
"""


def found() -> tuple[Instance, ...]:
    return MongoDb().parse(CASE.read_bytes(), make_facts())


def methods(instance: Instance, ground: Ground) -> list[str]:
    return [each.method for each in MongoDb().offers(instance, ground, make_facts())]


def test_methods_follow_the_volumes_and_what_the_server_answers() -> None:
    replica, scattered, closed = found()
    assert methods(replica, ATOMIC) == ["snapshot", "stream"]
    assert scattered.places == ("/srv/mongo", "/journal/mongo")
    assert methods(scattered, SCATTERED) == ["locked"]
    assert methods(closed, ATOMIC) == ["snapshot"] and methods(closed, SCATTERED) == []
    assert "it wants a password" in closed.problems[0]
    with pytest.raises(PlanRefused):
        MongoDb().recipe(closed, "stream", Patience(), "")


def test_without_a_journal_a_snapshot_is_no_backup() -> None:
    row = "/d\x000\0\x0027017\0\0\x00true\0\0\0\0\x00unknown\0"
    (instance,) = MongoDb().parse(row.encode(), make_facts())
    assert methods(instance, ATOMIC) == []


@pytest.mark.parametrize("shell", [("dash",), ("busybox", "sh")])
def test_a_lock_is_let_go_whenever_the_undo_runs_and_another_one_is_left_alone(
    tmp_path: Path, shell: tuple[str, ...]
) -> None:
    (tmp_path / "mongosh").write_text(MONGOSH)
    (tmp_path / "mongosh").chmod(0o755)
    hold, locks = tmp_path / "hold", tmp_path / "locks"
    hold.mkdir()
    row = f"/d\x000\0\x0027017\0\0\0\0\0\x00{tmp_path}/mongosh\0\x00locked=false 7.0\0"
    (instance,) = MongoDb().parse(row.encode(), make_facts())
    quiesce = MongoDb().recipe(instance, "locked", Patience(), "").quiesce
    assert quiesce is not None

    def run(source: str) -> int:
        words = [*shell, "-c", f"set -u\nhold=$1\n{source}", "sh", str(hold)]
        return subprocess.run(words, cwd=tmp_path, env=os.environ, stderr=subprocess.DEVNULL).returncode

    def is_locked() -> bool:
        return locks.exists() and locks.read_text() != ""

    assert run(quiesce.undo) == 0
    assert run(quiesce.hold) == 0 and is_locked()
    assert run(quiesce.undo) == 0 and not is_locked()
    assert run(f"{quiesce.hold}\n{quiesce.release}") == 0 and not is_locked()
    unlocked = f"{quiesce.hold}\n: >{locks}\n{quiesce.release}"
    assert run(unlocked) == NOT_HELD, "somebody unlocked it meanwhile: it was not held"
    assert run(quiesce.undo) == 0
    for each in hold.iterdir():
        each.unlink()
    locks.write_text("1")
    assert run(f"{quiesce.hold} || {{ {quiesce.release}; false; }}") != 0, "somebody else's"
    assert run(quiesce.undo) == 0 and is_locked()
    locks.write_text("")
    (tmp_path / "killed").touch()
    assert run(quiesce.hold) != 0 and is_locked(), "who asked for it died before the answer"
    assert run(quiesce.undo) == 0 and not is_locked()


@pytest.mark.parametrize("row", ["d\x000\0\x001", "/d\x002\0\x001", "/d\x000\0\x0099999", "/d\x000\0\x00x"])
def test_nonsense_is_refused(row: str) -> None:
    with pytest.raises(ProtocolBroken):
        MongoDb().parse(f"{row}\0\0\0\0\0\0\0\0unknown\0".encode(), make_facts())
