"""What already lies in the folder of a restore, and whether it stays as it is.

restic keeps files that exist (`--overwrite never`), but not where the restore point has a folder of that
name: there it deletes the file or link (measured with 0.18). And into folders of others root must not write.
"""

from __future__ import annotations

from collections.abc import Sequence

from agents.commands import Command, to_text
from agents.errors import RestoreTargetRefused
from agents.restic.repository import Repository
from agents.runner import Runner

_LIMIT_BYTES = 1024 * 1024
_MOST_FOLDERS = 100
_REMEDY = "Restore into a folder that does not exist yet."
# What is no folder, each name ended by NUL, relative to the target.
_LIST = 'cd -P -- "$1" && find . -mindepth 1 ! -type d -print0 | head -c "$2"'
# A folder into which nobody but root can go protects what lies in it.
_FIND_OPEN = r"""
cd -P -- "$1" && [ $((0$(stat -c %a .) & 011)) -ne 0 ] || exit 0
find . -mindepth 1 -type d \( ! -user 0 -o -perm -020 -o -perm -002 \) -print0 | head -c 4096
"""


def check_conflicts(
    runner: Runner, repository: Repository, restic_id: str, folder: str, names: Sequence[str], target: str
) -> None:
    """Given what is restored where, return when all that exists there stays untouched and nobody can redirect
    what is written. Raise RestoreTargetRefused else. Reads the restore point only where something exists."""
    opened = to_text(runner.run(Command.of("sh", "-c", _FIND_OPEN, "sh", target), timeout_s=600).stdout)
    if opened:
        first = opened.partition("\0")[0].removeprefix("./")
        raise RestoreTargetRefused(
            f"{first} in {target} may be changed by others than root: they could send the files elsewhere "
            "while they are written.",
            remedy=_REMEDY,
        )
    listed = runner.run(Command.of("sh", "-c", _LIST, "sh", target, str(_LIMIT_BYTES)), timeout_s=600).stdout
    if len(listed) >= _LIMIT_BYTES:
        raise RestoreTargetRefused(f"{target} holds too many files to be compared first.", remedy=_REMEDY)
    existing = {name.removeprefix("./") for name in to_text(listed).split("\0")[:-1]}
    _compare(repository, restic_id, folder, names, target, existing)


def _compare(
    repository: Repository,
    restic_id: str,
    folder: str,
    names: Sequence[str],
    target: str,
    existing: set[str],
) -> None:
    holders = {path[:at] for path in existing for at, letter in enumerate(path) if letter == "/"}
    pending, seen = [""] if existing else [], 0
    while pending:
        below, seen = pending.pop(), seen + 1
        if seen > _MOST_FOLDERS:
            raise RestoreTargetRefused(f"{target} holds too many folders to be compared.", remedy=_REMEDY)
        for node in repository.list_folder(restic_id, f"{folder.rstrip('/')}/{below}".rstrip("/") or "/"):
            path = f"{below}/{node.name}" if below else node.name
            if not node.is_folder or (not below and names and node.name not in names):
                continue
            if path in existing:
                raise RestoreTargetRefused(
                    f"{path} exists in {target} and is no folder, but it is one in the restore point: restic "
                    "would delete it.",
                    remedy=_REMEDY,
                )
            if path in holders:
                pending.append(path)
