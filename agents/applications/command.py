"""Any command as a named stream: what it prints is stored, and when it fails there is no restore point."""

from __future__ import annotations

from agents.applications.contract import Application
from agents.applications.recipes import STREAM, Ground, Offer, Patience, Recipe, Stream
from agents.commands import Command
from agents.errors import PlanRefused
from agents.events import Consistency
from agents.facts import Detail, DeviceFacts, Instance

_MOST_BYTES = 16 * 1024
_NAME_BYTES = 200

# A pipe answers with its last program's status: without pipefail `dump | gzip` would store the half that a
# dying dump printed. dash learned pipefail only lately. With -e a list ends with the first that fails.
# The line comes in the environment, which only root can read: every user sees the words of a program.
_VARIABLE = "HOTFLEET_LINE"
_SCRIPT = r"""
line=$HOTFLEET_LINE
# shellcheck disable=SC3040 # a shell that does not know it is asked in a subshell first
if (set -o pipefail) 2>/dev/null; then
  unset HOTFLEET_LINE
  set -e -o pipefail
elif command -v bash >/dev/null; then
  exec bash -c 'line=$HOTFLEET_LINE; unset HOTFLEET_LINE; set -e -o pipefail; eval "$line"' command
else
  unset HOTFLEET_LINE
  case $(printf '%s' "$line" | sed 's/||//g') in
    *'|'*)
      echo 'no shell of this device notices a failure within a pipe: install bash, or write no pipe' >&2
      exit 125
      ;;
  esac
  set -e
fi
eval "$line"
"""


class AnyCommand(Application):
    """The operator's own line of shell. The policy holds it: nothing is looked for on the device."""

    name = "command"
    label = "Command"

    def look(self, facts: DeviceFacts) -> Command | None:
        return None

    def parse(self, output: bytes, facts: DeviceFacts) -> tuple[Instance, ...]:
        return ()

    def describe(self, name: str, command: str) -> Instance | None:
        """Raise PlanRefused when the name is no file name, or the line is empty, too long or not text."""
        if not _is_file_name(name):
            raise PlanRefused(
                f"{name!r} is not a name for a stream: it becomes the name of a file",
                remedy="Name it with letters, digits, dots and dashes (for example inventory.json).",
            )
        if not command.strip() or "\0" in command or len(command.encode("utf-8", "replace")) > _MOST_BYTES:
            raise PlanRefused(
                f"the command of {name} is empty or longer than {_MOST_BYTES:,} bytes",
                remedy="Put a longer one into a script on the device, and name the script.",
            )
        details = (Detail("command", command),)
        return Instance(self.name, name, f"Command {name}", "", (), "", True, details)

    def offers(self, instance: Instance, ground: Ground, facts: DeviceFacts) -> tuple[Offer, ...]:
        reason = "what the command prints is stored; only its author knows how consistent that is"
        return (Offer(STREAM, Consistency.NONE, reason, "nothing is held by Hotfleet"),)

    def recipe(self, instance: Instance, method: str, patience: Patience, scratch: str) -> Recipe:
        if method != STREAM:
            raise PlanRefused(f"a command is stored as a stream, not by {method!r}")
        line = f"{_VARIABLE}={instance.detail('command')}"  # a word of env, which starts the producer
        producer = Command.of(line, "/bin/sh", "-c", _SCRIPT, "command")
        return Recipe(STREAM, Consistency.NONE, streams=(Stream(instance.name, producer),))

    def cold(self, instance: Instance, facts: DeviceFacts) -> Recipe:
        raise PlanRefused(
            f"{instance.label} has no service that could stand still",
            remedy="Plan it hot; let the command itself stop what it needs stopped.",
        )


def _is_file_name(name: str) -> bool:
    is_short = 0 < len(name.encode("utf-8", "replace")) <= _NAME_BYTES
    return is_short and name.isprintable() and not name.startswith(".") and "/" not in name
