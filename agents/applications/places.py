"""Where the data of instances really lies: what they were started with may be a link, or end in a slash.

restic stores a link as a link and a disk as the name of a disk: a restore point of either holds nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from agents.commands import Command
from agents.facts import Instance, RunsCommands
from agents.facts.wire import split_fields

# proc(5), PATH_MAX; and what fits into the words of one program anywhere.
_LONGEST_PATH = 4096
_MOST_LETTERS = 128 * 1024
# The dot keeps newlines at the end. A socket, a pipe and a terminal hold no data.
_SCRIPT = r"""
for place in "$@"; do
  real=$(readlink -f -- "$place" && printf .) || real=''
  real=${real%??} kind=other
  if [ -d "$real" ] || [ -f "$real" ]; then kind=data
  elif [ -S "$real" ] || [ -p "$real" ] || [ -c "$real" ]; then kind=nothing; fi
  printf '%s\0%s\0%s\0' "$place" "$kind" "$real"
done
"""


def settle_places(runner: RunsCommands, instances: Sequence[Instance], timeout_s: float) -> list[Instance]:
    """Given instances as they were found, return them with the real paths of their places.

    One of whose places nobody can read has none, and a problem: half of it is no backup. Runs a command where
    there is a place. Raise ProtocolBroken when its answer cannot be understood, CommandFailed when the device
    did not answer."""
    real: dict[str, tuple[str, str]] = {}
    for places in _batches(instances):
        command = Command.of("/bin/sh", "-c", _SCRIPT, "hotfleet", *places)
        rows = split_fields(runner.run(command, timeout_s=timeout_s).stdout, 3)
        real |= {place: (kind, path) for place, kind, path in rows}
    return [_settle(each, real) for each in instances]


def _batches(instances: Sequence[Instance]) -> Iterator[list[str]]:
    """Whoever names very many places must not keep others from being asked."""
    batch: list[str] = []
    for place in dict.fromkeys(place for each in instances for place in each.places):
        if len(place) > _LONGEST_PATH:
            continue
        if sum(map(len, batch)) + len(place) > _MOST_LETTERS:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def _settle(instance: Instance, real: dict[str, tuple[str, str]]) -> Instance:
    found: dict[str, None] = {}
    for place in instance.places:
        kind, path = real.get(place, ("other", ""))
        if kind == "data" and path.startswith("/") and path != "/":
            found[path] = None
        elif kind != "nothing":
            problem = (
                f"{place} is neither a directory nor a file of this device: nobody can copy all of "
                f"{instance.label} from its files. Look at it there, or choose a method that streams."
            )
            return replace(instance, places=(), problems=(*instance.problems, problem))
    return replace(instance, places=tuple(found))
