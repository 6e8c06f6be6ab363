"""MariaDB as Debian installs it, on ext4 on a classic logical volume: held, copied, restored and started.

Cost: 1 minute beside the boot, on two quiet cores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agents.events import Consistency, Froze
from agents.plan import SourceRequest
from tests.live.flows import Console
from tests.live.ground import wait_until
from tests.live.mariadb import SCHEMA, Writer, find_faults
from tests.vm.machine import Vm
from tests.vm.traces import wait_until_clean

_DATA = "/srv/ext/mysql"
_TARGET = "/srv/xfs/restored-mysql"
_PRIVATE = "/run/restored-mysql"
_SOCKET = "/run/mysqld/mysqld.sock"
# What is emulated is slow: `lvcreate` alone takes seconds, and all of it lies between hold and release.
_FREEZE_MS = 30_000
# systemd-run returns when the server says that it answers. A table that was open is told, and not mended.
_UNIT = "systemd-run -q --unit=restored-mysql -p Type=notify -p User=mysql -p TimeoutStartSec=240"
_START = f"""
rm -rf {_PRIVATE} && install -d -o mysql -m 0755 {_PRIVATE} && chown mysql: {_TARGET} && chmod 0700 {_TARGET}
{_UNIT} mariadbd --no-defaults --datadir={_TARGET} --socket={_PRIVATE}/s --pid-file={_PRIVATE}/pid \\
  --skip-networking --innodb-buffer-pool-size=32M --innodb-log-file-size=48M --myisam-recover-options=OFF \\
  --log-error={_PRIVATE}/log || {{ cat {_PRIVATE}/log >&2; exit 1; }}
"""
_END = (
    f"systemctl stop restored-mysql; systemctl reset-failed restored-mysql; rm -rf {_TARGET} {_PRIVATE}; true"
)


class Server:
    """A server in the machine, reached by its client there."""

    def __init__(self, vm: Vm, socket: str, key: Path) -> None:
        self.vm = vm
        self.socket = socket
        self.key = key

    def words(self) -> list[str]:
        at = ["ssh", "-q", "-i", str(self.key), "-p", str(self.vm.port), "-o", "StrictHostKeyChecking=no"]
        at += ["-o", "UserKnownHostsFile=/dev/null", "-o", "IdentitiesOnly=yes", f"root@{self.vm.address}"]
        return [*at, "mariadb", "--no-defaults", f"--socket={self.socket}", "--batch", "--skip-column-names"]

    def sql(self, query: str) -> str:
        assert "$(" not in query and "`" not in query
        client = f"mariadb --no-defaults --socket={self.socket} --batch --skip-column-names"
        return self.vm.run(f"{client} <<'END'\n{query}\nEND", timeout_s=240).strip()


@pytest.fixture
def server(vm: Vm, tmp_path: Path) -> Iterator[Server]:
    """The machine's own server, with a database for the writers."""
    key = tmp_path / "key"
    key.touch(mode=0o600)
    key.write_text(vm.key_pair.private_key.reveal())
    server = Server(vm, _SOCKET, key)
    server.sql(SCHEMA)
    yield server
    server.sql("drop database app")


@contextmanager
def restored(server: Server, console: Console, restic_id: str) -> Iterator[Server]:
    """The copy, started on a socket of its own."""
    assert console.restore(restic_id, _DATA, _TARGET).is_complete
    try:
        server.vm.run(_START, timeout_s=300)
        yield Server(server.vm, f"{_PRIVATE}/s", server.key)
    finally:
        server.vm.run(_END, timeout_s=120)


def backup_stages(server: Server) -> int:
    """Return how often BACKUP STAGE was said to the server."""
    return int(server.sql("show global status like 'Com_backup'").split()[1])


@pytest.mark.full
def test_a_hot_snapshot_of_ext4_on_lvm_starts_and_fits(vm: Vm, console: Console, server: Server) -> None:
    """Three engines, two of them without transactions: only what was held still agrees with itself."""
    request = SourceRequest(application="mariadb", instance=_DATA, longest_freeze_ms=_FREEZE_MS)
    stages = backup_stages(server)
    with Writer(server, 0, pause_s=0.1) as writer:
        wait_until(lambda: writer.count > 5 or bool(writer.trouble), timeout_s=60, what="the first rows")
        before = writer.count
        (point,) = console.back_up(request).points
        after = writer.count
    assert writer.trouble == ""
    assert (point.method, point.consistency) == ("snapshot+lvm", Consistency.APPLICATION)
    assert backup_stages(server) == stages + 3  # START, BLOCK_COMMIT, END
    (freeze,) = [event for event in console.events if isinstance(event, Froze)]
    assert not freeze.is_stop
    print(f"\nMariaDB on LVM and ext4: held for {freeze.milliseconds:.0f} ms (emulated): {freeze.steps}")
    print(f"the writer's longest step took {writer.longest_s * 1000:.0f} ms")
    wait_until_clean(vm, console.id, timeout_s=60)
    with restored(server, console, point.restic_id) as copy:
        assert find_faults(copy, {0: before}) == []
        rows = int(copy.sql("select count(*) from app.InnoDB"))
        assert before <= rows <= after + 1  # one may have been on its way
