"""The swap of a comeback as a device runs it, without a device: seats, their stagings, and what is to run."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

from agents.applications.keepers import Keeper
from agents.commands import Command
from agents.returning import healing, swapping
from agents.returning import staging as stagings

NAME = "hotfleet-c0-r0"
# What runs is a file here: it says on which data it was started.
KEEPER = """
keeper_note() { [ -e "$hold/names" ] || { echo it >"$hold/ran"; echo it >"$hold/names"; }; }
keeper_stop() { rm -f -- "$RUNS"; }
keeper_start() { [ -s "$1" ] || return 0; [ -e "$RUNS" ] || cat "$SEAT/table" >"$RUNS"; }
keeper_runs() { [ -e "$RUNS" ]; }
"""


class Swap:
    """Two seats with old data, and new data in their stagings."""

    def __init__(self, folder: Path, shell: str, *, kind: str = "-") -> None:
        self.folder, self.kind, self.owner = folder, kind, "-"
        self.hold = folder / "kept" / NAME
        self.living = folder / "run"
        self.living.mkdir()
        self.runs = folder / "running"
        self.seats = [folder / "one" / "data", folder / "two" / "data"]
        self.tools = folder / "tools"
        self.tools.mkdir()
        self.environment = {"RUNS": str(self.runs), "SEAT": str(self.seats[0]), "LC_ALL": "C"}
        self.real_rm = shutil.which("rm") if shell == "dash" else f"{shutil.which('busybox')} rm"
        if shell == "busybox":  # every tool is busybox's own
            subprocess.run(["busybox", "--install", "-s", str(self.tools)], check=True)
            self.environment["PATH"] = str(self.tools)
            self._shell = str(self.tools / "sh")
        else:
            self.environment["PATH"] = f"{self.tools}:{os.environ['PATH']}"
            self._shell = "dash"
            (self.tools / "rm").symlink_to(str(self.real_rm))
        # The real one waits for whatever else this machine writes, and what it does no test here can see.
        self.synced = folder / "synced"
        (self.tools / "sync").unlink(missing_ok=True)
        (self.tools / "sync").write_text(f'#!/bin/sh\npwd >>"{self.synced}"\n')
        (self.tools / "sync").chmod(0o755)
        self.rename(NAME)
        for seat in self.seats:
            write_data(seat, "old")
        self.runs.write_text("old")

    def rename(self, name: str) -> None:
        """It is another run from here on."""
        self.stagings = [self.folder_of(seat) / f".{name}-{number}" for number, seat in enumerate(self.seats)]

    def folder_of(self, seat: Path) -> Path:
        return seat if self.kind == "whole" else seat.parent

    def make(self) -> None:
        """Make the journal and the stagings as a comeback does, with the new data in them."""
        undo = Command.of(self._shell, "-c", *self.words(swapping._UNDO)).shell_line()
        assert self.act(swapping._JOURNAL, said=undo).returncode == 0
        for number, staging in enumerate(self.stagings):
            done = self.make_one(number)
            assert done.returncode == 0 and done.stdout.startswith("free "), (done.stdout, done.stderr)
            write_data(staging / "new" / "data", "new")

    def make_one(self, number: int) -> subprocess.CompletedProcess[str]:
        names = [] if self.kind == "whole" else [self.seats[number].name]
        words = (str(self.stagings[number]), self.kind, str(self.living), self.owner, *names)
        return self.call(stagings._MAKE, *words)

    def call(self, source: str, *words: str, said: str = "") -> subprocess.CompletedProcess[str]:
        """Run a source in a process group of its own: a tool that kills the group kills nobody else."""
        return subprocess.run(
            [self._shell, "-c", source, "hotfleet", *words],
            env=self.environment,
            input=said,
            capture_output=True,
            check=False,
            text=True,
            timeout=60,
            start_new_session=True,
        )

    def act(self, script: str, said: str = "") -> subprocess.CompletedProcess[str]:
        """Run one of the scripts of swapping.py over every seat."""
        source, _, *words = self.words(script)
        return self.call(source, *words, said=said)

    def words(self, script: str) -> list[str]:
        keeper = Keeper("it", KEEPER)
        source = "\n".join((swapping._HEAD, keeper.functions, swapping._functions(), script))
        return [source, "hotfleet", str(self.hold), *map(str, self.stagings)]

    def get_ready(self, ending: str = "") -> None:
        assert self.act(f"ending={ending}\n{swapping._READY}").returncode == 0

    def swap(self) -> None:
        self.get_ready()
        done = self.act(swapping._SWAP)
        assert done.returncode == 0, (done.stdout, done.stderr)
        assert self.told() == {"new"} and self.runs.read_text() == "new"

    def accept(self) -> None:
        assert self.act(swapping._GOOD).returncode == 0

    def undo(self) -> subprocess.CompletedProcess[str]:
        return self.act(swapping._UNDO)

    def lose_power(self) -> None:
        """Nothing in memory is left, nothing runs, and the device begins another life."""
        shutil.rmtree(self.living)
        self.living.mkdir()
        (self.hold / "boot").write_text("another life\n")
        self.runs.unlink(missing_ok=True)

    def boot(self) -> None:
        """What runs is started on what lies in its place, when something does."""
        with suppress(FileNotFoundError):
            self.runs.write_text((self.seats[0] / "table").read_text())

    def heal(self) -> subprocess.CompletedProcess[str]:
        """Whoever connects to it the next time."""
        return self.call(healing._HEAL, str(self.hold), str(self.hold.parent))

    def told(self) -> set[str]:
        """Return what the data in the seats says that it is."""
        files = [seat / name for seat in self.seats for name in ("table", "far/table")]
        return {file.read_text() for file in files}

    def die_removing(self, number: int) -> None:
        """Let whoever removes this staging be killed when half of it is gone, whatever half that is."""
        half = "swapped good keep fresh whole old/*/table in"
        tool = self.tools / "rm"
        tool.rename(self.tools / "rm.real")
        tool.write_text(
            f"#!/bin/sh\nfor word; do :; done\n"
            f"case $word in ./.{NAME}-{number})\n"
            f'  cd "$word" && /bin/rm -rf {half}; : >{self.folder}/died\n'
            "  read -r _ _ _ _ group _ </proc/self/stat; kill -9 -$group ;;\n"
            f'esac\nexec {self.real_rm} "$@"\n'
        )
        tool.chmod(0o755)

    def live(self) -> None:
        """Nobody is killed any more. Somebody was."""
        assert (self.folder / "died").exists()
        (self.tools / "rm.real").rename(self.tools / "rm")


def write_data(seat: Path, word: str) -> None:
    (seat / "far").mkdir(parents=True)
    (seat / "table").write_text(word)
    (seat / "far" / "table").write_text(word)
