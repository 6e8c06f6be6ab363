"""What a comeback left that died with the device (a power cut): found by name, and ended by its own way back.

Exactly one of both is in place afterwards: what was there before, unless all of the new had come and the
device runs on it since. Then that stays, and the other is kept beside it.
"""

from __future__ import annotations

from agents.commands import Command
from agents.events import Level, Said, Tell
from agents.own_places import JOURNALS
from agents.returning.fetching import tell_notes
from agents.returning.swapping import kept_in

_FIND = r"""
for found in "$1"/hotfleet-*-*; do
  [ -d "$found" ] && [ ! -L "$found" ] || continue
  printf '%s\0%s\0' "${found##*/}" "$found"
done
"""
FIND = Command.of("/bin/sh", "-c", _FIND, "hotfleet", JOURNALS)
# Without an undo nothing was begun, or everything is over.
_HEAL = r"""
case ${1#"$2"/} in */*) exit 1 ;; hotfleet-*-*) ;; *) exit 1 ;; esac
[ ! -e "$1/undo" ] || /bin/sh "$1/undo" || exit 1
rm -rf -- "$1" && { rmdir -- "$2" 2>/dev/null || :; }
"""


def heal_command(path: str) -> Command:
    """Given the path of a comeback's journal on the disk, return the idempotent command that puts back or
    ends what it tells of, and removes it. It takes as long as a service needs to stop and start."""
    return Command.of("/bin/sh", "-c", _HEAL, "hotfleet", path, JOURNALS)


def tell_healed(text: str, tell: Tell) -> None:
    """Given what that command printed, tell what became of the application's data."""
    tell_notes(text, tell, Level.WARNING)
    for path in kept_in(text):
        tell(Said(f"{path} is what was there before.", Level.WARNING))
