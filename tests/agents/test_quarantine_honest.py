"""What an honest restic does when an upload fails (it deletes what it could not save) breaks no rule."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agents.gateway import (
    Gateway,
    Journal,
    KeyFile,
    LocalStore,
    Rights,
    StoreFailed,
    Target,
    read_broken_rule,
)
from agents.gateway.uploads import Uploads
from agents.gateway.wire import Request, Wire
from agents.restic import arguments, children
from agents.restic.arguments import Restic
from agents.restic.binary import Binary
from agents.restic.repository import open_repository
from tests.agents.gateway_ground import CREDENTIALS, PASSWORD, _template, binary, loopback, repository_path

__all__ = ["_template", "binary", "repository_path"]


@pytest.mark.parametrize("fault", ["cut", "full disk", "lost answer"])
def test_an_upload_that_fails_condemns_nobody(
    repository_path: Path, binary: Binary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    (tmp_path / "large").write_bytes(os.urandom(20_000_000))
    paths, journal_path = tmp_path / "paths", tmp_path / "journal"
    paths.write_bytes(arguments.files_from_raw([str(tmp_path / "large")]))
    receive = Uploads.receive
    failed: list[Target] = []

    def fail_once(uploads: Uploads, wire: Wire, request: Request, target: Target) -> None:
        is_first = target.kind == "data" and not failed
        if is_first:
            failed.append(target)
        if is_first and fault == "full disk":
            raise StoreFailed("full", out_of_space=True)
        if not is_first or fault == "lost answer":
            receive(uploads, wire, request, target)
        if is_first:
            raise ConnectionResetError("cut")

    monkeypatch.setattr(Uploads, "receive", fail_once)
    with (
        open_repository(repository_path, PASSWORD, binary) as repository,
        LocalStore(repository_path) as store,
        Journal(journal_path) as journal,
    ):
        key = repository.make_run_key()
        shown = KeyFile(key.name, key.content)
        gateway = Gateway(store, CREDENTIALS, rights=Rights.BACKUP, journal=journal, run_key=shown)
        with loopback(gateway) as url:
            command = arguments.backup(Restic(str(binary.path)), [], host="h", paths_file=str(paths))
            variables = arguments.environment(
                url, key.password, user=CREDENTIALS.user, user_password=CREDENTIALS.password
            )
            result = children.run(command, variables, timeout_s=120)
        gateway.close()
    assert failed and any(refusal.method == "DELETE" for refusal in gateway.refusals)
    assert result.is_success == (fault != "full disk")
    assert (gateway.broken_rule, read_broken_rule(journal_path)) == ("", "")
