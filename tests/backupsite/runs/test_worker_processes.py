"""Real workers in real processes: what they do when something dies."""

from __future__ import annotations

import json
import os
import signal
import uuid
import zlib
from typing import Any

import pytest

from tests.backupsite.runs.grounds import Ground, end_process, wait_until

pytestmark = pytest.mark.slow

EXPIRE = (
    "from backupsite.runs.models import Run\nfrom django.utils import timezone\n"
    "Run.objects.filter(state='running').update(lease_until=timezone.now())"
)
LET_RETRIES_START = (
    "from backupsite.runs.models import Run\nRun.objects.filter(state='queued').update(not_before=None)"
)


def pid_of(row: dict[str, Any]) -> int:
    return int(row["worker"].rpartition(":")[2])


def parent_of(pid: int) -> int:
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        return int(file.read().rpartition(")")[2].split()[1])


def children_of(pid: int) -> list[str]:
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return file.read().split()


def is_running(pid: int) -> bool:
    """False for a zombie too: whoever adopted it may not collect it."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for_loss(ground: Ground, number: int) -> dict[str, Any]:
    """Tick until a run whose work horse died is lost: its worker tells the death, and then ends the lease."""

    def found() -> dict[str, Any] | None:
        ground.tick()
        row = ground.look(number)
        return row if row["state"] == "lost" else None

    return dict(wait_until(found, 60, f"run {number} is not lost: {ground.log()}"))


@pytest.mark.postgresql
def test_a_run_goes_through_a_real_worker_and_leaves_nothing_in_redis(ground: Ground) -> None:
    ground.start_worker()
    row = ground.wait_for(ground.request("backup", {}), "succeeded")
    assert row["lines"] == [f"process {pid_of(row)}"]
    assert row["started_at"] and row["ended_at"] and row["lease_until"] is None
    wait_until(lambda: not ground.valkey.client().keys("rq:job:*"), 60, "the job stays in Redis")


@pytest.mark.postgresql
def test_one_wake_up_is_enough_for_all_that_wait(ground: Ground) -> None:
    numbers = [ground.request("backup", {}, device=name) for name in ("one", "two", "three")]
    ground.valkey.client().ltrim("rq:queue:bulk", 0, 0)
    ground.start_worker()
    for number in numbers:
        ground.wait_for(number, "succeeded")


@pytest.mark.postgresql
def test_a_killed_work_horse_is_lost_at_once_and_its_backup_is_tried_once_more(ground: Ground) -> None:
    ground.start_worker()
    number = ground.request("backup", {"do": "die", "once": True})
    row = wait_for_loss(ground, number)
    assert row["error_code"] == "worker-lost"
    (retry,) = row["retries"]
    ground.python(LET_RETRIES_START)
    ground.tick()
    assert ground.wait_for(retry, "succeeded")["attempt"] == 2


def test_a_run_that_kills_its_worker_twice_is_not_tried_for_ever(ground: Ground) -> None:
    ground.start_worker()
    first = ground.request("backup", {"do": "die"})
    ground.wait_for(first, "running", "lost")
    (second,) = wait_for_loss(ground, first)["retries"]
    ground.python(LET_RETRIES_START)
    ground.tick()
    assert wait_for_loss(ground, second)["retries"] == []
    assert ground.log().count("A work horse died") == 2


def test_a_killed_worker_takes_its_work_horse_with_it_after_the_undo(ground: Ground) -> None:
    ground.start_worker()
    trace = ground.home / "trace"
    number = ground.request("backup", {"do": "wait", "file": str(trace)})
    horse = pid_of(ground.wait_for(number, "running"))
    os.kill(parent_of(horse), signal.SIGKILL)
    row = ground.wait_for(number, "lost")
    assert (row["error_code"], len(row["retries"])) == ("worker-stopped", 1)
    assert trace.read_text() == "undone"
    wait_until(lambda: not is_running(horse), 60, "the work horse lives on as an orphan")


def test_a_killed_pool_ends_its_workers_and_their_horses(ground: Ground) -> None:
    pool = ground.start_worker()
    number = ground.request("backup", {"do": "wait"})
    horse = pid_of(ground.wait_for(number, "running"))
    worker = parent_of(horse)
    end_process(pool, signal.SIGKILL)
    assert ground.wait_for(number, "lost")["error_code"] == "worker-stopped"
    wait_until(lambda: not is_running(horse) and not is_running(worker), 60, "something lives on")


def test_sigterm_undoes_the_run_before_the_pool_ends(ground: Ground) -> None:
    pool = ground.start_worker()
    trace = ground.home / "trace"
    number = ground.request("backup", {"do": "wait", "file": str(trace)})
    ground.wait_for(number, "running")
    end_process(pool, signal.SIGTERM)
    assert pool.returncode == 0
    # Not killed after its grace: its run would be lost with its worker.
    row = ground.look(number)
    assert (row["state"], row["error_code"], trace.read_text()) == ("lost", "worker-stopped", "undone")


def test_a_work_horse_that_does_not_end_is_killed_with_what_it_started(ground: Ground) -> None:
    pool = ground.start_worker(before="from backupsite.runs import worker; worker.GRACE_S = 2.0")
    number = ground.request("backup", {"do": "ignore-term"})
    horse = pid_of(ground.wait_for(number, "running"))
    child = int(wait_until(lambda: children_of(horse), 60, "it started nothing")[0])
    end_process(pool, signal.SIGTERM)
    wait_until(lambda: not is_running(horse) and not is_running(child), 60, "something lives on")
    assert wait_for_loss(ground, number)["error_code"] == "worker-lost"


def test_a_run_whose_worker_froze_is_lost_and_the_worker_that_wakes_up_writes_nothing(ground: Ground) -> None:
    ground.start_worker()
    number = ground.request("restore", {"do": "nothing"})
    # No worker listens to "interactive": this one is done by hand below, frozen in the middle.
    holder = ground.start_python(
        "from backupsite.runs.models import Run\nfrom backupsite.runs.execute import execute_run\n"
        f"run = Run.objects.get(number={number})\n"
        "Run.objects.filter(pk=run.pk).update(request={'do': 'wait'})\nexecute_run(str(run.pk))"
    )
    ground.wait_for(number, "running")
    os.kill(holder.pid, signal.SIGSTOP)
    ground.python(EXPIRE)
    ground.tick()
    lost = ground.look(number)
    assert lost["state"] == "lost"
    os.kill(holder.pid, signal.SIGCONT)
    holder.wait(60)
    after = ground.look(number)
    assert (after["state"], after["sequence"], after["ended_at"]) == (
        "lost",
        lost["sequence"],
        lost["ended_at"],
    )
    assert "somebody else" in ground.log()


def test_cancelling_stops_a_running_flow(ground: Ground) -> None:
    ground.start_worker()
    trace = ground.home / "trace"
    number = ground.request("backup", {"do": "wait", "file": str(trace)})
    ground.wait_for(number, "running")
    ground.python(
        "from backupsite.runs.models import Run\nfrom backupsite.runs.requests import cancel_run\n"
        f"answer = cancel_run(Run.objects.get(number={number}), by='ada')"
    )
    row = ground.wait_for(number, "cancelled")
    assert (row["cancel_requested_by"], row["retries"], trace.read_text()) == ("ada", [], "undone")


def test_redis_may_forget_everything_while_runs_wait_and_work(ground: Ground) -> None:
    ground.start_worker()
    working = ground.request("backup", {"do": "wait"}, device="one")
    ground.wait_for(working, "running")
    waiting = ground.request("backup", {}, device="two")
    ground.valkey.client().flushall()
    ground.tick()
    ground.python(
        "from backupsite.runs.models import Run\nfrom backupsite.runs.requests import cancel_run\n"
        f"cancel_run(Run.objects.get(number={working}), by='ada')"
    )
    ground.wait_for(working, "cancelled")
    ground.wait_for(waiting, "succeeded")


def test_a_run_ends_well_though_redis_is_gone_and_the_next_one_starts_when_it_is_back(ground: Ground) -> None:
    ground.start_worker()
    first = ground.request("backup", {"do": "wait", "file": str(ground.home / "trace")})
    ground.wait_for(first, "running")
    ground.valkey.stop()
    second = ground.request("backup", {}, device="two")
    ground.python(
        "from backupsite.runs.models import Run\nfrom backupsite.runs.requests import cancel_run\n"
        f"cancel_run(Run.objects.get(number={first}), by='ada')"
    )
    ground.wait_for(first, "cancelled")
    ground.valkey.start()
    ground.tick()
    ground.wait_for(second, "succeeded")


def forge(ground: Ground, fields: dict[str, Any], job_id: str | bytes | None = None) -> None:
    """Put a job into the queue as somebody who reached Redis would."""
    client = ground.valkey.client()
    job_id = job_id or uuid.uuid4().hex
    key = b"rq:job:" + (job_id if isinstance(job_id, bytes) else job_id.encode())
    if fields:
        client.hset(key, mapping=fields)
    client.rpush("rq:queue:bulk", job_id)


def test_forged_jobs_are_refused_and_the_worker_lives(ground: Ground) -> None:
    pool = ground.start_worker()
    trace = ground.home / "owned"
    ground.wait_for(ground.request("backup", {}), "succeeded")
    workers = children_of(pool.pid)
    call = json.dumps(["os.system", None, [f"touch {trace}"], {}]).encode()
    good = {"created_at": "2026-01-01T00:00:00.000000Z", "origin": "bulk", "status": "queued"}
    forge(ground, good | {"data": zlib.compress(call)})
    forge(ground, good | {"data": call})
    forge(ground, good | {"data": json.dumps(["run", "os", ["system"], {}])})
    # A pickle that calls os.system when it is read.
    forge(ground, good | {"data": b"cos\nsystem\n(S'touch " + str(trace).encode() + b"'\ntR."})
    evil = {"failure_callback_name": "os.abort", "stopped_callback_name": "os.abort", "retries_left": "9"}
    forge(ground, good | evil | {"data": call, "success_callback_name": "os.abort"})
    forge(ground, good | {"data": os.urandom(200), "meta": os.urandom(50), "result_ttl": "ninety"})
    forge(ground, {"data": call, "status": b"\xff\xfe", "created_at": b"\x00", "timeout": "1"})
    forge(ground, {os.urandom(20): os.urandom(20), b"data": call})  # type: ignore[dict-item]  # bytes as redis takes them
    forge(ground, {"data": call}, job_id="spaces are no id")
    forge(ground, {"data": call}, job_id=os.urandom(24))
    forge(ground, {}, job_id="no-such-job")
    ground.wait_for(ground.request("backup", {}, device="two"), "succeeded")
    assert children_of(pool.pid) == workers, "the worker died of a forged job"
    assert not trace.exists()
    assert pool.poll() is None
    assert ground.log().count("RefusedJob") >= 3
