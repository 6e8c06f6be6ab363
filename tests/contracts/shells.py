"""Shell sources under test: read by shellcheck and dash, run where nothing of the machine can be reached."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from agents.applications import Recipe
from agents.commands import Command

# What our sources may call besides the applications' own programs.
_TOOLS = (
    *("awk", "cat", "cut", "date", "df", "env", "expr", "grep", "head", "id", "mkdir", "mkfifo", "mktemp"),
    *("mv", "od", "printf", "readlink", "rm", "rmdir", "sed", "sort", "stat", "tail", "tr", "wc"),
)
# Whoever changes the user does nothing but start what follows.
_STARTERS = ("runuser", "setpriv")
_STARTER = r"""#!/bin/sh
while [ $# -gt 0 ] && [ "$1" != -- ]; do shift; done
[ $# = 0 ] || shift
exec "$@"
"""
_TIMEOUT = r"""#!/bin/sh
while :; do
  case $1 in -s | -k) shift 2 ;; -*) shift ;; *) break ;; esac
done
shift
exec "$@"
"""
# There is nothing to wait for, and what comes after a wait is to be run too.
_SLEEP = f"#!/bin/sh\nexec {shutil.which('sleep')} 0.01\n"


@cache
def check_shell(script: str) -> None:
    """Raise AssertionError when a POSIX shell cannot read the script, or shellcheck minds something."""
    read = subprocess.run(["sh", "-n"], input=script, capture_output=True, text=True)
    assert read.returncode == 0, f"{read.stderr}\n{script}"
    # SC2034, SC2317: sources share functions and variables, and not each uses all of them.
    words = ["shellcheck", "-s", "sh", "-S", "warning", "-e", "SC2034,SC2317", "-"]
    checked = subprocess.run(words, input=script, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def scripts_of(command: Command) -> list[str]:
    """Return the sources that a command gives to a shell by -c."""
    following = zip(command.argv, command.argv[1:], command.argv[2:], strict=False)
    return [script for shell, option, script in following if shell in ("sh", "/bin/sh") and option == "-c"]


class Sandbox:
    """A folder with a PATH on which there is no application, no service manager, and nobody else's user."""

    def __init__(self, folder: Path) -> None:
        self.hold = folder / "sandbox-hold"
        self._path = folder / "sandbox-bin"
        self._path.mkdir()
        for tool in _TOOLS:
            found = shutil.which(tool)
            if found is not None:
                (self._path / tool).symlink_to(found)
        starters = {name: _STARTER for name in _STARTERS}
        for name, script in {**starters, "timeout": _TIMEOUT, "sleep": _SLEEP}.items():
            (self._path / name).write_text(script)
            (self._path / name).chmod(0o755)

    def run(self, command: Command) -> subprocess.CompletedProcess[str]:
        """Run a command to its end. What waits for something is ended after some seconds."""
        words = [shutil.which("timeout") or "timeout", "-s", "KILL", "10", *command.argv]
        environment = {"PATH": str(self._path), "HOME": "/nonexistent", "LC_ALL": "C"}
        return subprocess.run(
            words, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, errors="replace"
        )

    def commands_of(self, recipes: Iterable[Recipe]) -> list[Command]:
        """Return everything of the recipes that would run on a device."""
        commands: list[Command] = []
        for recipe in recipes:
            commands += [stream.producer for stream in recipe.streams]
            if recipe.quiesce is not None:
                commands += recipe.quiesce.before
                sources = (f"{recipe.quiesce.hold}\n{recipe.quiesce.release}", recipe.quiesce.undo)
                for source in sources:
                    body = f"hold=$1\nwork() {{\n{source}\n}}\nwork"
                    commands.append(Command.of("/bin/sh", "-c", body, "hotfleet", str(self.hold)))
        return commands

    def run_all(self, commands: Iterable[Command]) -> None:
        """Run each in an empty hold. Whether they succeed says nothing: there is nothing to talk to."""
        for command in commands:
            shutil.rmtree(self.hold, ignore_errors=True)
            self.hold.mkdir(mode=0o700)
            if os.path.basename(command.argv[0]) in (*_STARTERS, *_TOOLS, "sh") or "=" in command.argv[0]:
                self.run(command)
