"""A download for which the console's disk is too small."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.browse import save_download
from agents.errors import PlanRefused
from agents.flow import Unstoppable
from agents.repositories import RepositoryPlace
from agents.restic import arguments, children
from agents.restic.arguments import Restic
from agents.restic.binary import Binary
from agents.restic.repository import open_repository
from tests.agents.gateway_ground import PASSWORD, _template, binary, repository_path, small_disk

__all__ = ["_template", "binary", "repository_path", "small_disk"]


def test_a_full_disk_is_said_and_leaves_nothing(
    repository_path: Path, binary: Binary, tmp_path: Path, small_disk: Path
) -> None:
    (tmp_path / "large").write_bytes(bytes(20_000_000))
    paths = tmp_path / "paths"
    paths.write_bytes(arguments.files_from_raw([str(tmp_path / "large")]))
    with open_repository(repository_path, PASSWORD, binary) as repository:
        command = arguments.backup(Restic(str(binary.path)), [], host="h", paths_file=str(paths))
        assert children.run(command, repository._variables, timeout_s=60).is_success
        (point,) = repository.list_snapshots()
    with pytest.raises(PlanRefused, match="did not take the download"):
        save_download(
            RepositoryPlace(repository_path, tmp_path / "journals", PASSWORD),
            binary,
            point.snapshot_id,
            [str(tmp_path / "large")],
            archive="",
            into=small_disk / "download",
            size_limit_bytes=10**9,
            tell=lambda event: None,
            control=Unstoppable(),
        )
    assert list(small_disk.iterdir()) == []
