"""A device that breaks a rule of its repository, over the real tunnel, beside a restic that ends well."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from agents.binds import Bind
from agents.commands import Secret
from agents.errors import RepositoryRefused
from agents.plan import PlannedSource
from agents.repositories import OpenDoor
from agents.storing import Point, Store
from tests.live.flows import Console, assert_device_is_clean
from tests.live.ground import Device, command

# Runs on the device: $1 the port, $2 the value of Authorization.
_EVIL = """
import http.client, sys
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
connection.request("DELETE", "/snapshots/" + "a" * 64, headers={"Authorization": sys.argv[2]})
print(connection.getresponse().status)
"""


def delete_a_restore_point(device: Device, door: OpenDoor) -> str:
    values = {
        name: value.reveal() if isinstance(value, Secret) else value
        for name, value in door.environment.items()
    }
    port = values["RESTIC_REPOSITORY"].rstrip("/").rpartition(":")[2]
    pair = f"{values['RESTIC_REST_USERNAME']}:{values['RESTIC_REST_PASSWORD']}"
    word = "Basic " + base64.b64encode(pair.encode()).decode()
    network = f"--net=/run/netns/{device.namespace}"
    return command("nsenter", network, "python3", "-c", _EVIL, port, word).stdout.strip()


def test_a_device_that_breaks_a_rule_has_no_restore_point_though_its_restic_ends_well(
    device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    console = Console(device, tmp_path)
    source = device.btrfs / "data"
    source.mkdir()
    (source / "first").write_text("before")
    console.back_up(source)
    (source / "second").write_bytes(os.urandom(1_000_000))
    answers: list[str] = []
    stores = Store.store

    def store_and_break(store: Store, number: int, source: PlannedSource, binds: Sequence[Bind]) -> Point:
        point = stores(store, number, source, binds)
        answers.append(delete_a_restore_point(device, store.door))
        return point

    with monkeypatch.context() as patched:
        patched.setattr(Store, "store", store_and_break)
        with pytest.raises(RepositoryRefused, match="may not delete"):
            console.back_up(source)
    assert answers == ["403"]
    assert console.count_restore_points() == 1
    (aside,) = (tmp_path / "repository.quarantine").iterdir()
    assert sum(file.stat().st_size for file in aside.iterdir()) > 1_000_000
    assert_device_is_clean(console)
    assert console.back_up(source).is_complete
    console.check_repository()
