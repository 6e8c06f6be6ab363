"""Exclude patterns: what we say is excluded is what the real restic leaves out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agents.plan import escape_pattern
from agents.restic import arguments, children
from agents.restic.arguments import Restic
from agents.restic.binary import Binary
from agents.restic.patterns import make_excluded
from agents.restic.repository import open_repository
from tests.agents.gateway_ground import PASSWORD, _template, binary, repository_path

__all__ = ["_template", "binary", "repository_path"]

NAMES = [
    "x.log",
    "y.tmp",
    "log/x",
    "log/deep/x",
    "a[b]*?",
    "ab",
    "dot.d/z",
    "new\nline",
    "b-1",
    "b-a",
    "$HOME",
]
PATTERNS = [
    "*.log", "log", "/TOP/log", "/TOP/log/*", "log/**/x", "**/deep", "?b", "b-[0-9]", "b-[^0-9]", "deep/x",
    "/TOP/a\\[b]\\*\\?", "dot.d", "og", "/log", "new*", "/TOP/**/x", "$HOME", "/TOP",
]  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
def test_we_exclude_what_restic_excludes(
    repository_path: Path, binary: Binary, tmp_path: Path, pattern: str
) -> None:
    top = tmp_path / "top"
    for name in NAMES:
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text("x")
    pattern = pattern.replace("/TOP", escape_pattern(str(top)))
    excludes, paths = tmp_path / "excludes", tmp_path / "paths"
    excludes.write_bytes(arguments.exclude_lines([pattern]))
    paths.write_bytes(arguments.files_from_raw([str(top)]))
    command = arguments.backup(
        Restic(str(binary.path)), [], host="h", exclude_file=str(excludes), paths_file=str(paths)
    )
    excluded = make_excluded([pattern])
    assert excluded is not None
    kept = {name for name in NAMES if not excluded.search(str(top / name))}
    with open_repository(repository_path, PASSWORD, binary) as repository:
        result = children.run(command, repository._variables, timeout_s=60)
        assert result.status in (0, 1, 3)
        stored = {
            name
            for name in NAMES
            for info in repository.list_snapshots()
            if _holds(repository, info.snapshot_id, top / name)
        }
    assert kept == stored


def _holds(repository: object, snapshot_id: str, path: Path) -> bool:
    from agents.restic.repository import PathMissing, Repository

    assert isinstance(repository, Repository)
    try:
        nodes = repository.list_folder(snapshot_id, str(path.parent))
    except PathMissing:
        return False
    return os.path.basename(path) in {node.name for node in nodes}


def test_what_is_taken_back_is_never_said_to_be_excluded() -> None:
    assert make_excluded(["*.log", "!keep.log"]) is None
    assert make_excluded([]) is None
    assert make_excluded(["[z-a]"]) is None
