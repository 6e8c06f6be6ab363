"""Generations of btrfs subvolumes: the proof that nothing changed.

The kernel takes a snapshot inside of the commit of a transaction, when nobody else may join it: the
generation of the subvolume and the creation of its snapshot are then that transaction's number, and every
later change, be it a byte, a mode or an attribute, belongs to a later one (fs/btrfs/transaction.c,
create_pending_snapshots). So a subvolume whose generation still is the creation of a snapshot holds what the
snapshot held, once everything was written out. What it cannot see: the whole disk set back to an older state,
and written again since."""

from __future__ import annotations

import re
from collections.abc import Sequence

from agents.commands import Command, to_text

# Prints the record of each, NUL after each. Written out first: a change that is only in memory has no
# generation.
_SHOW = """
wants_sync=$1
shift
for each in "$@"; do
  [ "$wants_sync" = no ] || btrfs filesystem sync "$each" >/dev/null || exit 1
done
for each in "$@"; do
  btrfs subvolume show -- "$each" || exit 1
  printf '\\0'
done
"""
_UUID = r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
_FIELDS = {
    "uuid": re.compile(rf"^\tUUID:[ \t]+{_UUID}$", re.MULTILINE),
    "parent": re.compile(rf"^\tParent UUID:[ \t]+{_UUID}$", re.MULTILINE),
    "generation": re.compile(r"^\tGeneration:[ \t]+([0-9]{1,20})$", re.MULTILINE),
    "creation": re.compile(r"^\tGen at creation:[ \t]+([0-9]{1,20})$", re.MULTILINE),
}


def show_command(subvolumes: Sequence[str], *, writes_out: bool) -> Command:
    """Given the tops of subvolumes, return what prints their records; `writes_out`: what is dirty goes
    first."""
    words = ("/bin/sh", "-c", _SHOW, "hotfleet", "yes" if writes_out else "no")
    return Command.of(*words, *subvolumes)


def read_live(output: bytes, count: int) -> str:
    """Given the records of `count` subvolumes, return what proves their state now, "" when one says too
    little."""
    return _read(output, count, "uuid", "generation")


def read_snapshots(output: bytes, count: int) -> str:
    """Given the records of `count` snapshots, return what proves the state of what they were taken of."""
    return _read(output, count, "parent", "creation")


def _read(output: bytes, count: int, *names: str) -> str:
    records = to_text(output).split("\0")[:-1]
    found = [[_find(record, name) for name in names] for record in records]
    if len(found) != count or not all(all(values) for values in found):
        return ""
    return ";".join(":".join(values) for values in found)


def _find(record: str, name: str) -> str:
    """A name of a subvolume may hold a line that looks like a field: what is there twice proves nothing."""
    values = _FIELDS[name].findall(record)
    return str(values[0]) if len(values) == 1 else ""
