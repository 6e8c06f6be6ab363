"""Whoever names a process like a server, and says that the data of others is its own, is not believed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.applications import applications
from tests.agents.facts.samples import make_facts

STRANGER = 65534
SERVERS = [
    ("etcd", "etcd", "--data-dir={}"),
    ("mongodb", "mongod", "--dbpath={}"),
    ("openldap", "slapd", "-F{}"),
]


@pytest.fixture
def room() -> Iterator[Path]:
    """A directory that strangers reach."""
    path = Path(tempfile.mkdtemp(prefix="hotfleet-strangers-", dir="/var/lib"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.mark.parametrize(("application", "server", "word"), SERVERS)
@pytest.mark.parametrize("owner", [STRANGER, 33])
def test_a_server_has_data_of_its_own_user_only(
    room: Path, application: str, server: str, word: str, owner: int
) -> None:
    data = room / "data"
    data.mkdir()
    os.chown(data, owner, owner)
    program = room / server
    program.write_text("#!/bin/sh\nread -r line\n")
    program.chmod(0o755)
    words = ["setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups", str(program)]
    plugin = applications()[application]
    command = plugin.look(make_facts())
    assert command is not None
    with subprocess.Popen([*words, word.format(data)], stdin=subprocess.PIPE) as process:
        try:
            while Path(f"/proc/{process.pid}/comm").read_text() != f"{server}\n":
                assert process.poll() is None
                time.sleep(0.02)
            said = subprocess.run(command.argv, capture_output=True, check=True, timeout=60).stdout
        finally:
            process.kill()
    found = [each.name for each in plugin.parse(said, make_facts()) if each.name.startswith(str(room))]
    assert found == ([str(data)] if owner == STRANGER else [])
