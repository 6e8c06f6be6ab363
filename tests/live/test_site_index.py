"""The index of paths in a whole console: made by the worker after a backup, made again when it is lost."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.ground import Device
from tests.live.machine import wait_until
from tests.live.site import LiveSite, run_site

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(live_ground: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSite]:
    with run_site(tmp_path_factory.mktemp("console") / "home") as site:
        yield site


@pytest.fixture
def source(device: Device) -> Path:
    folder = device.btrfs / "data"
    (folder / "deep" / "\udcfe").mkdir(parents=True)
    (folder / "deep" / "\udcfe" / "-rf \n \udcff").write_text("a name that nobody likes")
    (folder / "old").write_text("gone in the second backup")
    return folder


def list_tree(folder: Path) -> set[str]:
    return {os.path.join(where, name) for where, *names in os.walk(folder) for name in [*names[0], *names[1]]}


def wait_for_paths(site: LiveSite, point: str, source: Path) -> set[str]:
    """Wait until a restore point is in the index; return what it says is below the source."""
    found: list[list[str] | None] = []

    def is_there() -> bool:
        found.append(site.do("list_paths", point=point))
        return found[-1] is not None

    wait_until(is_there, timeout_s=60, what="the index")
    return {path for path in found[-1] or [] if path.startswith(f"{source}/")}


def test_each_backup_is_in_the_index_and_a_lost_one_is_made_again(
    site: LiveSite, device: Device, source: Path
) -> None:
    enrolled = site.enrol(device, source)
    enrolled.back_up()
    first = list_tree(source)
    (source / "old").unlink()
    (source / "new").write_text("made after the first backup")
    enrolled.back_up()
    points = [point["id"] for point in enrolled.points()]
    assert wait_for_paths(site, points[1], source) == list_tree(source) != first
    assert wait_for_paths(site, points[0], source) == first
    site.do("lose_index", device=enrolled.slug)
    assert wait_for_paths(site, points[0], source) == first
    assert wait_for_paths(site, points[1], source) == list_tree(source)
