"""A consistency group: an application's files and its database are of one moment, and restored they fit.

The application writes an order's file, and then its row. So a copy fits when every row has its file, and at
most the one that was being written has no row."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.events import Consistency, Froze
from agents.plan import SourceRequest
from tests.live.flows import Console, assert_device_is_clean
from tests.live.ground import Device, wait_until
from tests.live.postgresql import Cluster, own

BACKUPS = 50 if os.environ.get("HOTFLEET_CAMPAIGN") == "full" else 2


class Shop:
    """Writes some hundred orders a second, one after another: the file first, then the row."""

    def __init__(self, cluster: Cluster, orders: Path) -> None:
        self._cluster, self._orders = cluster, orders
        orders.mkdir()
        cluster.sql("create table orders (number int primary key)")
        words = [str(cluster.binaries / "psql"), "-X", "-q", "-h", str(cluster.socket), "-d", "postgres"]
        as_postgres = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--init-groups", "--"]
        self._session = subprocess.Popen([*as_postgres, *words], stdin=subprocess.PIPE, text=True, cwd="/")
        self._ending = threading.Event()
        self.count = 0
        self._thread = threading.Thread(target=self._sell)
        self._thread.start()

    def _sell(self) -> None:
        assert self._session.stdin is not None
        while not self._ending.is_set():
            self.count += 1
            path = self._orders / str(self.count)
            path.write_text("an order")
            self._session.stdin.write(f"insert into orders values ({self.count});\n")
            self._session.stdin.flush()
            self._ending.wait(0.002)  # tens of thousands of files would only have to be restored

    def close(self) -> None:
        self._ending.set()
        self._thread.join()
        assert self._session.stdin is not None
        self._session.stdin.close()
        self._session.wait(180)


@pytest.fixture
def place() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="hotfleet-group-", dir="/var/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_files_and_rows_of_a_group_fit(device: Device, tmp_path: Path, place: Path) -> None:
    device.directory.chmod(0o755)
    device.btrfs.chmod(0o755)
    console = Console(device, tmp_path)
    with Cluster(device.btrfs / "db").create() as cluster:
        shop = Shop(cluster, device.btrfs / "orders")
        try:
            wait_until(lambda: shop.count > 100, what="the first orders")
            for number in range(BACKUPS):
                check_one(console, cluster, device.btrfs / "orders", place / str(number))
        finally:
            shop.close()
        assert cluster.sql("select count(*) from orders") == str(shop.count), "no order was lost"
    assert_device_is_clean(console)


def check_one(console: Console, cluster: Cluster, orders: Path, target: Path) -> None:
    console.events.clear()
    target.mkdir()
    target.chmod(0o755)
    outcome = console.back_up(
        SourceRequest(application="postgresql", instance=str(cluster.data), group="shop"),
        SourceRequest(str(orders), group="shop"),
    )
    database, files = outcome.points
    assert (database.group, files.group) == ("shop", "shop")
    assert database.consistency is Consistency.APPLICATION
    assert len([event for event in console.events if isinstance(event, Froze)]) == 1, "one moment"
    assert console.restore(database.restic_id, cluster.data, target / "db").is_complete
    assert console.restore(files.restic_id, orders, target / "orders").is_complete
    own(target / "db")
    with Cluster.of_copy(target / "db") as restored:
        rows = {int(line) for line in restored.sql("select number from orders").split()}
    found = {int(name) for name in os.listdir(target / "orders")}
    assert rows, "orders were restored"
    # what psql has not been given yet, or has not committed, has a file and no row: never the other way round
    assert rows <= found, f"rows without files: {sorted(rows - found)[:5]}"
    shutil.rmtree(target)
