"""MariaDB: held for milliseconds under load, restored, started, its rows counted; and what must go wrong."""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.pool import ThreadPool
from pathlib import Path

import pytest

from agents.applications import mysql_session
from agents.backup import BackupOutcome
from agents.errors import AgentError, FreezeTooLong, QuiesceFailed, ResticFailed
from agents.events import Consistency, Froze
from agents.plan import SourceRequest
from tests.live.flows import Console, assert_device_is_clean
from tests.live.ground import Device, command, wait_until
from tests.live.mariadb import Server, Writer, find_faults, request_for, writers

HELD_MS = 30_000
ROUNDS = 50 if os.environ.get("HOTFLEET_CAMPAIGN") == "full" else 2


@pytest.fixture
def console(device: Device, tmp_path: Path) -> Console:
    return Console(device, tmp_path)


@pytest.fixture
def server(device: Device) -> Iterator[Server]:
    """A server on a btrfs, with its binary log beside its data in one subvolume."""
    home = device.btrfs / "my sql"
    command("btrfs", "subvolume", "create", home)
    with Server(home).create() as server:
        yield server


@contextmanager
def restored(console: Console, outcome: BackupOutcome, name: str = "restored") -> Iterator[Path]:
    """The folder into which everything of the only restore point was restored, for mysql to work in."""
    target = Path("/var/lib") / f"hotfleet-{name}-{console.id}"
    try:
        (point,) = outcome.points
        console.restore(point.restic_id, "/", target)
        target.chmod(0o755)
        yield target
    finally:
        subprocess.run(["rm", "-rf", str(target)], check=True)


def receipts(console: Console) -> list[Froze]:
    return [event for event in console.events if isinstance(event, Froze)]


def test_hot_snapshots_under_load_each_restore_to_a_server_that_fits(
    console: Console, server: Server
) -> None:
    request = request_for(server)
    with writers(server) as busy:
        for _ in range(ROUNDS):
            least = {each.number: each.count for each in busy}
            outcome = console.back_up(request)
            (point,) = outcome.points
            assert (point.method, point.consistency) == ("snapshot+btrfs", Consistency.APPLICATION)
            with restored(console, outcome) as target:
                copy = next(target.rglob("aria_log_control")).parents[1]
                with Server(copy) as again:
                    assert find_faults(again, least) == []
    assert_device_is_clean(console)
    froze = sorted(each.milliseconds for each in receipts(console))
    assert len(froze) == ROUNDS
    step_ms = max(each.longest_s for each in busy) * 1000
    print(
        f"\nMariaDB, {ROUNDS} freezes: median {statistics.median(froze):.0f} ms, "
        f"p99 {froze[round(0.99 * (ROUNDS - 1))]:.0f} ms; the longest step of a writer {step_ms:.0f} ms"
    )


def quarrel(console: Console, request: SourceRequest) -> AgentError:
    """Return how a backup failed; nothing of it is kept, and nothing is left on the device."""
    with pytest.raises(AgentError) as caught:
        console.back_up(request)
    assert console.count_restore_points() == 0
    assert_device_is_clean(console)
    return caught.value


def backup_stages(server: Server) -> int:
    """Return how often a lock for a backup was asked for."""
    return int(server.sql("show global status like 'Com_backup'").split()[1])


def test_a_stream_under_load_is_prepared_and_fits(console: Console, server: Server) -> None:
    with writers(server) as busy:
        least = {each.number: each.count for each in busy}
        outcome = console.back_up(request_for(server, "stream"))
    (point,) = outcome.points
    assert (point.method, point.consistency) == ("stream", Consistency.APPLICATION)
    with (
        restored(console, outcome) as target,
        prepared(target / "backup.xbstream") as home,
        Server(home) as again,
    ):
        assert find_faults(again, least) == []
    assert_device_is_clean(console)


@contextmanager
def prepared(stream: Path) -> Iterator[Path]:
    """Extract and prepare a stream with MariaDB's own programs, as an operator does."""
    home = stream.parent / "home"
    (home / "db").mkdir(parents=True)
    with stream.open("rb") as file:
        subprocess.run(["mbstream", "-x", "-C", home / "db"], stdin=file, check=True, capture_output=True)
    subprocess.run(
        ["mariadb-backup", "--prepare", f"--target-dir={home}/db"], check=True, capture_output=True
    )
    subprocess.run(["chown", "-R", "mysql:", home], check=True)
    yield home


@pytest.mark.slow
def test_a_stream_does_not_wait_for_a_lock_for_ever(console: Console, server: Server) -> None:
    with server.busy("lock tables MyISAM write; do sleep(60)"), writers(server, 1, ("InnoDB",)):
        error = quarrel(console, request_for(server, "stream", 3000))
    assert isinstance(error, ResticFailed) and "s for a lock" in error.detail


@pytest.mark.slow
def test_half_a_stream_cannot_be_prepared(console: Console, server: Server) -> None:
    with restored(console, console.back_up(request_for(server, "stream"))) as target:
        whole = (target / "backup.xbstream").read_bytes()
        (target / "backup.xbstream").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(subprocess.CalledProcessError), prepared(target / "backup.xbstream"):
            pass


def test_a_dump_says_that_tables_without_transactions_do_not_fit(console: Console, server: Server) -> None:
    with writers(server, 1):
        outcome = console.back_up(request_for(server, "dump"))
    assert outcome.points[0].consistency is Consistency.NONE
    assert any("2 tables that know none" in sentence for sentence in console.sentences)
    with restored(console, outcome) as target, Server(target).create() as fresh:
        fresh.sql("drop database app")
        with (target / "all-databases.sql").open("rb") as file:
            subprocess.run([*fresh.words()], stdin=file, check=True, capture_output=True)
        assert int(fresh.sql("select count(*) from app.InnoDB")) > 0
        assert fresh.sql("select sum(balance) from app.account") == "20000"


@pytest.mark.slow
def test_a_dump_of_tables_with_transactions_is_one_moment(console: Console, server: Server) -> None:
    server.sql("drop table app.MyISAM; drop table app.Aria")
    assert console.back_up(request_for(server, "dump")).points[0].consistency is Consistency.APPLICATION


@pytest.mark.parametrize(
    ("method", "program", "word"),
    [("dump", "mariadb-dump", "--all-databases"), ("stream", "mariadb-backup", "--backup")],
)
def test_a_program_killed_half_way_never_becomes_a_restore_point(
    console: Console, server: Server, method: str, program: str, word: str
) -> None:
    # it waits for this lock until it is killed
    with server.busy("lock tables MyISAM write; do sleep(60)"), ThreadPool(1) as pool:
        failing = pool.apply_async(quarrel, (console, request_for(server, method, 80_000)))
        os.kill(wait_for_program(console.device, program, word), signal.SIGKILL)
        assert isinstance(failing.get(180), ResticFailed)


def wait_for_program(device: Device, name: str, word: str = "") -> int:
    found: list[int] = []

    def is_there() -> bool:
        for pid in device.session_pids():
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if Path(os.fsdecode(words[0])).name == name and word.encode() in (b"", *words):
                    found.append(pid)
        return bool(found)

    wait_until(is_there, timeout_s=120, what=name)
    return found[0]


def test_a_bare_snapshot_tears_tables_without_transactions(console: Console, server: Server) -> None:
    """The control of the tests above: files alone, as a power cut leaves them."""
    with writers(server) as busy:
        outcome = console.back_up(server.home)
    assert outcome.points[0].consistency is Consistency.CRASH
    with restored(console, outcome) as target, Server(next(target.rglob("my sql"))) as again:
        faults = find_faults(again, {each.number: 0 for each in busy})
    assert any("MyISAM" in fault for fault in faults), faults


# What dies while the application is held, and what the run says of it.
def _client(console: Console) -> int:
    return wait_for_program(console.device, "mariadb", "--unbuffered")


def _script(console: Console) -> int:
    """The shell of the moment: the parent of the client."""
    return int(Path(f"/proc/{_client(console)}/stat").read_text().rpartition(")")[2].split()[1])


def _runner(console: Console) -> int:
    """The leader of the run on the device: it stands above the shell."""
    pid = _script(console)
    while True:
        parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        if parent in (0, 1) or b"sshd" in Path(f"/proc/{parent}/cmdline").read_bytes():
            return pid
        pid = parent


@pytest.mark.slow
@pytest.mark.parametrize(
    ("find", "error"), [(_client, QuiesceFailed), (_script, QuiesceFailed), (_runner, AgentError)]
)
def test_whatever_dies_while_it_is_held_commits_go_on_and_nothing_is_left(
    console: Console,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    find: Callable[[Console], int],
    error: type[AgentError],
) -> None:
    hold_longer(monkeypatch)
    with writers(server) as busy, ThreadPool(1) as pool:
        failing = pool.apply_async(quarrel, (console, request_for(server, freeze_ms=HELD_MS)))
        _client(console)
        wait_until(lambda: is_held(busy), what="the hold")
        pid = find(console)
        os.kill(pid, signal.SIGKILL)
        counts = [each.count for each in busy]
        wait_until(
            lambda: all(each.count > count for each, count in zip(busy, counts, strict=True)),
            timeout_s=HELD_MS / 1000 - 5,
            what="commits, long before the hold's own end",
        )
        assert isinstance(failing.get(180), error)
        wait_until(lambda: not server.sessions(), what="the end of the session")


def hold_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mysql_session, "_HOLD", f"{mysql_session._HOLD}\nsleep 8\n")


def is_held(busy: list[Writer]) -> bool:
    counts = [each.count for each in busy]
    time.sleep(0.5)
    return counts == [each.count for each in busy]


@pytest.mark.slow
def test_a_hold_past_the_limit_is_ended_by_the_device(
    console: Console, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold_longer(monkeypatch)
    with writers(server) as busy:
        assert isinstance(
            quarrel(console, request_for(server, freeze_ms=2000)), QuiesceFailed | FreezeTooLong
        )
    assert max(each.longest_s for each in busy) < 6


def test_a_long_statement_is_seen_before_a_lock_is_asked_for(console: Console, server: Server) -> None:
    server.sql("insert into app.MyISAM values (99, 1, '')")
    long = server.busy("update MyISAM set n = n + sleep(60) /* their secret */")
    with long, writers(server, 1, ("InnoDB",)):
        time.sleep(2)
        before = backup_stages(server)
        error = quarrel(console, request_for(server, freeze_ms=4000))
        assert backup_stages(server) == before
    assert isinstance(error, QuiesceFailed)
    assert "a statement of the user root runs for" in error.message
    assert "secret" not in f"{error.message}{error.detail}"


@pytest.mark.slow
def test_reading_for_long_holds_nothing_up(console: Console, server: Server) -> None:
    server.sql("insert into app.MyISAM values (99, 1, '')")
    with server.busy("/* a report */ select sleep(60) from MyISAM"):
        time.sleep(2)
        (point,) = console.back_up(request_for(server, freeze_ms=4000)).points
    assert point.consistency is Consistency.APPLICATION


def test_a_lock_that_is_not_obtained_in_time_harms_nobody(console: Console, server: Server) -> None:
    """LOCK TABLES of a session that does nothing: it cannot be seen before."""
    words = [*server.words(), "--unbuffered", "app"]
    holder = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdin is not None and holder.stdout is not None
    holder.stdin.write("lock tables MyISAM write; select 'locked';\n")
    holder.stdin.flush()
    assert holder.stdout.readline() == "locked\n"
    try:
        with writers(server, 1, ("InnoDB",)) as busy:
            began = busy[0].count
            error = quarrel(console, request_for(server, freeze_ms=4000))
            assert busy[0].count > began
        assert busy[0].longest_s < 3
    finally:
        holder.stdin.close()
        holder.wait(60)
    assert isinstance(error, QuiesceFailed)
    assert "Lock wait timeout" in error.detail and "nothing is held" in error.detail
    console.back_up(request_for(server))
