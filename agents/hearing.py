"""A script on the device is heard up to a limit: what prints for ever must not fill the memory of the device,
where its answer waits for the console."""

from __future__ import annotations

from agents.commands import Command

# Of each of stdout and stderr. A script of ours prints some lines.
MOST_BYTES = 64 * 1024
# The words: a file for the status, the limit, the command. Whoever prints more goes on, and is not heard any
# more: a pipe that is closed would end it in the middle.
_HEAR = r"""
ended=$1 most=$2
shift 2
hear() { head -c "$most"; cat >/dev/null; }
{ { "$@"; echo "$?" >"$ended"; } 2>&1 >&3 3>&- | hear >&2 3>&-; } 3>&1 | hear
read -r status <"$ended" && rm -f -- "$ended" && exit "$status"
exit 1
"""


def hear_at_most(command: Command, ended_file: str) -> Command:
    """Given a command and a path for a small file on the device, return the command that runs it and prints
    the beginning of what it prints. Its status is the command's own.

    It ends when nobody holds its stdout and stderr any more: a process that stays must not have them."""
    words = ("/bin/sh", "-c", _HEAR, "hotfleet", ended_file, str(MOST_BYTES), *command.argv)
    return Command(words, command.stdin)
