"""What was restored, counted and sampled: some files are read again here and in the repository, by two ways
that share nothing but restic's format."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from agents.commands import Command
from agents.drilling.evidence import FileHash
from agents.errors import ProtocolBroken
from agents.facts.wire import parse_number, split_fields
from agents.flow import Control
from agents.restic.repository import Repository, SnapshotInfo
from agents.runner import Runner

# Larger ones are proven by restic alone, which read every file again after the restore.
LARGEST = 64 * 1024 * 1024
# As restic counts: plain files, each name of one with several. $1: the tree
_COUNT = r"""
cd -P -- "$1" || exit 1
find . -xdev -type f -printf '%s\n' | awk '{ n++; b += $1 } END { printf "%d %.0f", n, b }'
"""
# $1: the tree, $2: how many, $3: how large at most
_SAMPLE = r"""
cd -P -- "$1" || exit 1
find . -xdev -type f -size -"$3"c -print0 | shuf -z -n "$2" | xargs -0 -r -n 1 sh -c '
  printf "%s\0%s\0%s\0" "$(sha256sum <"$1" | cut -d " " -f 1)" "$(($(wc -c <"$1")))" "${1#.}"' sh
"""


@dataclass(frozen=True, slots=True)
class Count:
    files: int
    bytes: int


def judge_count(infos: Sequence[SnapshotInfo], count: Count, *, is_application: bool) -> tuple[bool, str]:
    """Given what restore points record and what was found, return whether it is all there, and a sentence.
    Where nothing is, nothing is proven."""
    recorded = [info.summary for info in infos if info.summary is not None]
    files = sum(each.total_files_processed for each in recorded)
    size = sum(each.total_bytes_processed for each in recorded)
    is_same = len(recorded) == len(infos) and (files, size) == (count.files, count.bytes)
    said = f"{count.files:,} files with {count.bytes:,} bytes are there, {files:,} with {size:,} were stored"
    is_something = count.files > 0 and (count.bytes > 0 or not is_application)
    return is_same and is_something, said if is_something else f"{said}: nothing is in it"


def count_files(runner: Runner, tree: str) -> Count:
    """Return how many files were restored below `tree`, and their bytes."""
    said = runner.run(Command.of("/bin/sh", "-c", _COUNT, "hotfleet", tree), timeout_s=6 * 3600).text
    files, _, size = said.partition(" ")
    return Count(parse_number(files, "a number of files"), parse_number(size, "a number of bytes"))


def sample_files(runner: Runner, tree: str, count: int) -> tuple[FileHash, ...]:
    """Return the hashes of so many files of the tree, chosen by chance."""
    if not count:
        return ()
    command = Command.of("/bin/sh", "-c", _SAMPLE, "hotfleet", tree, str(count), str(LARGEST))
    rows = split_fields(runner.run(command, timeout_s=3600).stdout, 3)
    found = []
    for digest, size, path in rows:
        if len(digest) != 64 or not path.startswith("/"):
            raise ProtocolBroken("a hash of a restored file is none", detail=repr((digest, path))[:300])
        found.append(FileHash(path, parse_number(size, "the size of a file"), digest))
    return tuple(found)


def find_different(
    repository: Repository, restic_id: str, hashes: tuple[FileHash, ...], control: Control
) -> list[FileHash]:
    """Return those files that hold something else than the repository says. Raise ResticFailed when it cannot
    read one."""
    different = []
    for each in hashes:
        control.raise_if_stopped()
        digest = hashlib.sha256()
        size = 0
        for piece in repository.dump_file(restic_id, each.path):
            digest.update(piece)
            size += len(piece)
        if (digest.hexdigest(), size) != (each.sha256, each.size):
            different.append(each)
    return different
