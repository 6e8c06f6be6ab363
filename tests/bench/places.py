"""Where the bench works: a device with a btrfs of a given size, and consoles with a fresh repository each."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.live.flows import Console
from tests.live.ground import Device

_NUMBERS = itertools.count(1)


class Place:
    """A device, the tree on it, and a folder for repositories (HOTFLEET_BENCH_DIR, else the system's)."""

    def __init__(self, device: Device, folder: Path) -> None:
        self.device = device
        self.folder = folder
        self.source = device.btrfs / "data"

    @contextmanager
    def console(self) -> Iterator[Console]:
        """A console with a repository of its own, which is removed afterwards."""
        home = self.folder / f"console-{next(_NUMBERS)}"
        home.mkdir()
        os.sync()  # what earlier rounds wrote is not this one's burden
        try:
            yield Console(self.device, home)
        finally:
            shutil.rmtree(home)


@contextmanager
def make_place(*, size_mb: int) -> Iterator[Place]:
    """A device whose btrfs has room for `size_mb`."""
    with (
        Device(LogLevel="ERROR") as device,
        tempfile.TemporaryDirectory(
            prefix="hotfleet-bench-", dir=os.environ.get("HOTFLEET_BENCH_DIR")
        ) as folder,
    ):
        device.make_file_system("btrfs", size_mb=size_mb)
        yield Place(device, Path(folder))
