"""A real device is backed up into an object store and restored from it; what is stored there is checked,
copied and removed. Some ten seconds on two cores."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from agents.gateway.store import StoreUnreachable
from agents.maintaining.copying import copy_snapshots
from agents.maintaining.words import Expected
from agents.maintenance import CheckRequest, PruneRequest, check, measure, prune
from agents.objects import ObjectLocation
from agents.repositories import RepositoryPlace, open_place
from agents.restic.repository import create
from tests.agents.gateway_ground import RECOVERY
from tests.agents.maintenance_ground import Patient
from tests.agents.object_ground import ObjectServer, serve_objects
from tests.live.flows import Console, picture_of
from tests.live.ground import Device

pytestmark = pytest.mark.slow


def lay_into(server: ObjectServer, console: Console, folder: Path) -> RepositoryPlace:
    """Make a repository in an object store; return its place."""
    objects = ObjectLocation(server.account(), "device", folder / "spool", is_conditional=False)
    create(objects, console.password, RECOVERY, console.binary)
    state = folder / "state"
    state.mkdir()
    return RepositoryPlace(
        state / "device", state / "device.journals", console.password, state, objects=objects
    )


def test_a_device_is_kept_in_an_object_store(live_ground: None, device: Device, tmp_path: Path) -> None:
    source = device.btrfs / "data"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "file").write_bytes(os.urandom(3_000_000))
    before = picture_of(source)
    console = Console(device, tmp_path)
    in_directory = console.place
    with serve_objects(tmp_path / "server") as server:
        console.place = lay_into(server, console, tmp_path)
        (point,) = console.back_up(source).points
        shutil.rmtree(source / "deep")
        target = device.directory / "restored"
        console.restore(point.restic_id, str(source), target)
        assert picture_of(target) == before

        wanted = CheckRequest(console.place, console.binary, Expected(frozenset({point.restic_id})))
        assert not check(wanted, tell=console.tell, control=Patient()).findings
        with (
            open_place(console.place, console.binary, console.tell) as here,
            open_place(in_directory, console.binary, console.tell) as there,
        ):
            assert list(copy_snapshots(here, there, [point.restic_id], tell=console.tell, control=Patient()))
        gone = PruneRequest(console.place, console.binary, [point.restic_id])
        assert prune(gone, tell=console.tell, control=Patient()) > 3_000_000
        assert measure(console.place) < 10_000


class Stopping(Patient):
    """A control that ends the store's server once the gateway asks for it first."""

    def __init__(self, server: ObjectServer) -> None:
        super().__init__()
        self._server = server

    def is_current(self) -> bool:
        self._server.stop()
        return True


@pytest.mark.full
def test_a_store_that_goes_away_ends_the_run_with_what_it_is(
    live_ground: None, device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.gateway.objects_account.RETRIES_S", 1.0)
    monkeypatch.setattr("agents.gateway.objects.RETRY_UNTIL_S", 1.0)
    source = device.btrfs / "data"
    source.mkdir()
    (source / "file").write_bytes(os.urandom(3_000_000))
    console = Console(device, tmp_path)
    with serve_objects(tmp_path / "server") as server:
        console.place = lay_into(server, console, tmp_path)

        control = Stopping(server)
        with pytest.raises(StoreUnreachable) as caught:
            console.back_up(source, control=control)
        assert caught.value.retryable and "does not answer" in caught.value.message
        assert "compromised" not in caught.value.remedy
        assert not [each for each in server.files() if "snapshots" in each.parts]
