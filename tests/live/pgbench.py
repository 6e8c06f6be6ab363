"""Writers on a PostgreSQL server, and an invariant that every committed state of it keeps."""

from __future__ import annotations

import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.live.postgresql import Cluster

# Every transaction of pgbench adds one number in three tables and notes it in a fourth.
_SUMS = """
select (select coalesce(sum(abalance), 0) from pgbench_accounts),
       (select coalesce(sum(bbalance), 0) from pgbench_branches),
       (select coalesce(sum(tbalance), 0) from pgbench_tellers),
       (select coalesce(sum(delta), 0) from pgbench_history)
"""
_TROUBLE = ("error", "abort", "fatal", "terminat", "lost", "closed")


def prepare(cluster: Cluster, *, scale: int = 2) -> None:
    """Make the tables of pgbench."""
    cluster.run("pgbench", "-i", "-q", "-s", str(scale), "postgres")


class Load:
    """Writers that run."""

    def __init__(self, process: subprocess.Popen[str], output: Path) -> None:
        self._process = process
        self._output = output

    def stop(self) -> str:
        """End the writers and return what they said. Raise AssertionError when one had any trouble."""
        is_alive = self._process.poll() is None
        self._process.send_signal(signal.SIGINT)
        self._process.wait(60)
        said = self._output.read_text()
        assert is_alive, f"the writers ended by themselves:\n{said}"
        trouble = [line for line in said.lower().splitlines() if any(word in line for word in _TROUBLE)]
        assert not trouble, f"a writer noticed something:\n{trouble[:5]}"
        assert "progress:" in said, "nobody wrote"
        return said


@contextmanager
def load(cluster: Cluster, *, clients: int = 4) -> Iterator[Load]:
    """Write as fast as can be while the context lasts. Raise AssertionError when a writer had any trouble."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "said"
        words = ["-n", "-c", str(clients), "-T", "3600", "-P", "1", "postgres"]
        with output.open("w") as file:
            process = cluster.popen("pgbench", *words, output=file)
        running = Load(process, output)
        try:
            yield running
            running.stop()
        finally:
            process.kill()
            process.wait(60)


def count_writes(cluster: Cluster) -> int:
    """Return how many transactions were committed."""
    return int(cluster.sql("select count(*) from pgbench_history"))


def is_whole(cluster: Cluster) -> bool:
    """Return whether the invariant holds."""
    return len(set(cluster.sql(_SUMS).split("|"))) == 1


def amcheck(cluster: Cluster) -> subprocess.CompletedProcess[str]:
    """Compare every table with its indexes. Its status is not 0 when something is wrong."""
    return cluster.run("pg_amcheck", "--install-missing", "--heapallindexed", "postgres", check=False)


def assert_whole(cluster: Cluster) -> int:
    """Raise AssertionError when the invariant is broken or an index does not fit; return the writes."""
    assert is_whole(cluster), cluster.sql(_SUMS)
    checked = amcheck(cluster)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    return count_writes(cluster)
