"""The program of a restore as a device runs it, without a device: staging and a destination side by side."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from agents.commands import escape_line
from agents.restoring.staging import read_program, undo_command

SHELLS = ("dash", "busybox")
NAME = ".hotfleet-c0-r0.restore"
# Each as a single name: what a shell, find, mv, printf or a terminal might stumble over.
HOSTILE_NAMES = [
    *(bytes([byte]) for byte in range(1, 256) if byte not in b"/."),
    b"-rf", b"--", b"-n", b"new\nline", b"ends with newline\n", b" . ", b"...", b"a b", b"*?[a-z]{b}",
    b"$(id)`id`",
    b"\xff\xfe not utf-8 \x80", b"\x81\x82\x88ctl", b"back\\slash", b"\\0101", b"quote'\"", b"%s%n",
    b"x" * 255,
    "\N{SNOWMAN}".encode() * 85, b".hidden", b".hidden.txt", b"a.tar.gz",
]  # fmt: skip


class Place:
    """Staging and destination on one file system, and the program."""

    def __init__(self, folder: Path, shell: str) -> None:
        self.folder = folder
        self.staging = folder / NAME
        self.destination = folder / "destination"
        self.destination.mkdir()
        self.program = folder / "restore.sh"
        self.program.write_bytes(read_program())
        self.environment = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
        if shell == "busybox":  # every tool is busybox's own
            tools = folder / "tools"
            tools.mkdir()
            subprocess.run(["busybox", "--install", "-s", str(tools)], check=True)
            self.environment["PATH"] = str(tools)
        self.is_busybox = shell == "busybox"
        self._shell = "dash" if shell == "dash" else str(folder / "tools" / "sh")
        ground = self.look(self.destination)
        assert ground[0] == "ground"
        self.identity = ground[2]
        self.run("make", self.staging, self.identity, self.destination)

    @property
    def new(self) -> Path:
        return self.staging / "new"

    def call(self, *words: object, items: Sequence[bytes | str] = ()) -> subprocess.CompletedProcess[bytes]:
        stdin = b"".join(escape_line(item) + b"\n" for item in items)
        line = [os.fsencode(str(word)) for word in (self._shell, self.program, *words)]
        return subprocess.run(
            line, input=stdin, capture_output=True, env=self.environment, check=False, timeout=120
        )

    def run(self, *words: object, items: Sequence[bytes | str] = ()) -> list[str]:
        """Return the fields that it prints. It must succeed."""
        done = self.call(*words, items=items)
        assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
        return os.fsdecode(done.stdout).split("\0")[:-1]

    def refusal(self, *words: object, items: Sequence[bytes | str] = ()) -> list[str]:
        """Return the word and the path of its refusal."""
        done = self.call(*words, items=items)
        assert done.returncode == 3, (done.returncode, done.stdout, done.stderr)
        return os.fsdecode(done.stdout).split("\0")[-3:-1]

    def look(self, folder: Path) -> list[str]:
        return self.run("look", folder)

    def merge(self, conflict: str) -> tuple[int, ...]:
        """Return replaced, kept, renamed, skipped, failed."""
        words = ("merge", self.staging, self.identity, conflict, "2026-11-22 14.02", self.program)
        word, *counts = self.run(*words, self.destination)
        assert word == "merged"
        return tuple(int(count) for count in counts)

    def exact(self, *items: bytes | str) -> subprocess.CompletedProcess[bytes]:
        return self.call("exact", self.staging, self.identity, self.destination, items=items)

    def back(self) -> int:
        """Run the undo step as the journal holds it."""
        words = undo_command(str(self.staging)).argv
        done = subprocess.run(
            [self._shell, *words[1:]], env=self.environment, capture_output=True, check=False, timeout=120
        )
        return done.returncode


def picture(folder: Path) -> dict[bytes, tuple[object, ...]]:
    """Return what a folder holds: kind, mode, owner, inode and content of each thing."""
    seen: dict[bytes, tuple[object, ...]] = {}
    top = os.fsencode(folder)
    for where, folders, files in os.walk(top):
        for name in [*folders, *files]:
            path = os.path.join(where, name)
            facts = os.lstat(path)
            content: object = os.readlink(path) if os.path.islink(path) else None
            if os.path.isfile(path) and not os.path.islink(path):
                content = Path(os.fsdecode(path)).read_bytes()
            seen[os.path.relpath(path, top)] = (facts.st_mode, facts.st_uid, facts.st_ino, content)
    return seen


def make_both(place: Place) -> list[str]:
    """Three places: a folder that is there, a file that is not, and one whose folders are missing too."""
    for top in (place.new, place.destination):
        (top / "data" / "sub").mkdir(parents=True)
        (top / "data" / "sub" / "file").write_text(top.name)
    (place.destination / "data" / "only here").write_text("old")
    (place.new / "alone").write_text("new")
    (place.new / "far" / "away").mkdir(parents=True)
    (place.new / "far" / "away" / "file").write_text("new")
    return ["data", "alone", "far/away/file"]
