"""What is at a path of a device."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from agents.commands import Command
from agents.errors import ProtocolBroken
from agents.facts.wire import parse_number, split_fields

# stat's own message tells "missing" from "cannot be read" (a stale mount, a broken disk).
_SCRIPT = r"""
LC_ALL=C
export LC_ALL
for path in "$@"; do
  kind=other empty=no resolved='' numbers='0 0'
  if said=$(stat -c '%d %i' -- "$path" 2>&1); then
    numbers=$said
    if [ -L "$path" ]; then kind=link
    elif [ -d "$path" ]; then
      kind=directory
      [ -n "$(find "$path" -mindepth 1 -maxdepth 1 2>/dev/null | head -c 1)" ] || empty=yes
    elif [ -f "$path" ]; then kind=file
    fi
    resolved=$(readlink -f -- "$path"; echo .)
    resolved=${resolved%??}
  else
    case $said in
      *'No such file'* | *'Not a directory'*) kind=missing ;;
      *) kind=unreadable ;;
    esac
  fi
  printf '%s\0' "$path" "$kind" "${numbers% *}" "${numbers#* }" "$empty" "$resolved"
done
"""
KINDS = frozenset({"missing", "unreadable", "link", "directory", "file", "other"})


@dataclass(frozen=True, slots=True)
class PathFact:
    """`kind` is one of KINDS. `resolved` is the path without symbolic links, "" when there is none."""

    path: str
    kind: str
    device: int
    inode: int
    is_empty: bool
    resolved: str


def paths_command(paths: Iterable[str]) -> Command:
    """Given absolute paths, return the command that looks at them."""
    return Command.of("sh", "-c", _SCRIPT, "hotfleet", *paths)


def parse_paths(output: bytes) -> tuple[PathFact, ...]:
    """Given what the command printed, return a fact a path. Raise ProtocolBroken when fields do not fit."""
    facts = []
    for path, kind, device, inode, empty, resolved in split_fields(output, 6):
        if kind not in KINDS or empty not in ("yes", "no"):
            raise ProtocolBroken("a path is of no kind that we know", detail=repr((path, kind)))
        numbers = parse_number(device, "a device id"), parse_number(inode, "an inode")
        facts.append(PathFact(path, kind, *numbers, empty == "yes", resolved))
    return tuple(facts)
