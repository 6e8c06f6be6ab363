"""What a server must be for its log to be streamed, and the slot that keeps it until the console has it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Any

from agents.applications import read_instances
from agents.applications.postgresql_ways import as_owner, databases_of, make_connection
from agents.commands import Command
from agents.errors import PlanRefused, ProtocolBroken
from agents.events import Level, Said, Tell
from agents.facts import Instance, read_facts
from agents.flow import OpenSession
from agents.runner import Runner
from agents.wal.words import SEGMENT_SIZES, STREAM, StreamBroken, StreamRequest

# max_slot_wal_keep_size and wal_status came with it.
_SINCE = 13
_SLOT = re.compile(r"[a-z0-9_]{1,63}")
_Answer = dict[str, Any]
_KINDS: dict[str, type] = {
    "is_standby": bool, "wal_level": str, "role": str, "keep_mb": int, "segment_bytes": int, "slot": str,
    "block_bytes": int, "is_synced": bool, "free_slots": int, "may_replicate": bool,
}  # fmt: skip
# One line of JSON. The name of the slot is of letters that need no quoting.
_ASK = """
select json_build_object(
  'is_standby', pg_is_in_recovery(), 'wal_level', current_setting('wal_level'), 'role', current_user,
  'keep_mb', (select setting::bigint from pg_settings where name = 'max_slot_wal_keep_size'),
  'segment_bytes', (select setting::bigint from pg_settings where name = 'wal_segment_size'),
  'block_bytes', (select setting::bigint from pg_settings where name = 'wal_block_size'),
  'is_synced', current_setting('fsync') = 'on',
  'free_slots', current_setting('max_replication_slots')::int - (select count(*) from pg_replication_slots),
  'may_replicate', (select rolsuper or rolreplication from pg_roles where rolname = current_user),
  'slot', (select coalesce(wal_status, 'lost') from pg_replication_slots where slot_name = '{slot}')
)"""
_MAKE = "select pg_create_physical_replication_slot('{slot}', true)"
_DROP = (
    "select slot_name, pg_drop_replication_slot(slot_name) from pg_replication_slots "
    "where slot_name = '{slot}' and slot_type = 'physical'"
)


@dataclass(frozen=True, slots=True)
class Server:
    """A server whose log can be streamed, by a session in `database`."""

    instance: Instance
    database: str
    segment_bytes: int
    block_bytes: int


@contextmanager
def open_runner(request: StreamRequest, open_session: OpenSession, tell: Tell) -> Iterator[Runner]:
    """Open the way to the device, and a run there under a name of its own: the runs of this console go on
    beside it, and a second stream of the same instance is refused as busy."""
    own = hashlib.sha256(request.instance.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    with ExitStack() as stack:
        session = stack.enter_context(closing(open_session()))
        console_id = f"{request.console_id}{STREAM}{own}"
        yield stack.enter_context(Runner(session, console_id=console_id, run_id=request.stream_id, tell=tell))


def find_server(runner: Runner, request: StreamRequest) -> Instance:
    """Return the instance. Raise StreamBroken when it does not answer now, PlanRefused when it is too old."""
    key = ("postgresql", request.instance)
    facts = read_instances(runner, read_facts(runner), {"postgresql"}, [key])
    instance = facts.instance(*key)
    if instance is None or not instance.is_running or not instance.detail("asked_in"):
        why = "; ".join(instance.problems) if instance is not None else "it was not found"
        raise StreamBroken(f"PostgreSQL {request.instance} does not answer: {why or 'it does not run'}"[:500])
    version = int(instance.version.partition(".")[0])
    if version < _SINCE:
        raise PlanRefused(
            f"{instance.label} is version {version}, in which nothing bounds what a slot keeps",
            remedy="A WAL stream needs PostgreSQL 13 or newer.",
        )
    return instance


def prepare_slot(runner: Runner, instance: Instance, slot: str, tell: Tell) -> Server:
    """Make sure that the server can be streamed and keeps its log in our slot. Raise PlanRefused with the
    remedy when it cannot be."""
    said = _ask(runner, instance, _checked(slot))
    _refuse(instance, said)
    database = _choose_database(instance)
    if said["slot"] == "lost":
        # its log is gone from it for ever; whether some is missing here will be seen
        run_sql(runner, instance, _DROP.format(slot=slot))
    if said["slot"] in (None, "lost"):
        if said["slot"] is None and said["free_slots"] < 1:
            raise PlanRefused(
                f"{instance.label} has no free replication slot",
                remedy="Raise max_replication_slots by one, and restart the server when that suits you.",
            )
        run_sql(runner, instance, _MAKE.format(slot=slot))
        tell(Said(f"{instance.label}: the slot {slot} keeps its log until the console has it."))
    _warn(runner, instance, said, tell)
    segment_bytes, block_bytes = said["segment_bytes"], said["block_bytes"]
    if segment_bytes not in SEGMENT_SIZES or block_bytes not in (1024 << power for power in range(7)):
        raise ProtocolBroken("PostgreSQL's log has segments of a size that cannot be", detail=repr(said))
    return Server(instance, database, segment_bytes, block_bytes)


def remove_slot(runner: Runner, instance: Instance, slot: str) -> bool:
    """Remove the slot from the server. Return whether there was one."""
    return bool(run_sql(runner, instance, _DROP.format(slot=_checked(slot))).strip())


def run_sql(runner: Runner, instance: Instance, sql: str) -> str:
    """Return what a statement prints. Raise CommandFailed when it fails."""
    return runner.run(_psql(instance, sql)).text


def _psql(instance: Instance, sql: str) -> Command:
    words = ("-X", "-q", "-w", "-A", "-t", "-v", "ON_ERROR_STOP=1")
    connection = make_connection(instance.detail("asked_in"))
    return as_owner(instance, instance.detail("psql"), *words, "-d", connection, "-c", sql)


def _ask(runner: Runner, instance: Instance, slot: str) -> _Answer:
    try:
        said: _Answer = json.loads(run_sql(runner, instance, _ASK.format(slot=slot)))
        return {name: _typed(said[name], kind) for name, kind in _KINDS.items()}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ProtocolBroken("PostgreSQL's answer about its log cannot be understood") from error


def _typed(value: object, kind: type) -> Any:
    """Any: JSON of a device, whose types are checked here. Raise TypeError for another."""
    if value is not None and (type(value) is not kind):
        raise TypeError(f"{value!r:.100} is not a {kind.__name__}")
    return value


def _refuse(instance: Instance, said: _Answer) -> None:
    for is_wrong, what, remedy in (
        (said["is_standby"], "is a standby", "Stream the log of its primary."),
        (
            said["wal_level"] == "minimal",
            "writes a log that restores nothing (wal_level is minimal)",
            "ALTER SYSTEM SET wal_level = 'replica'; then restart the server when that suits you.",
        ),
        (
            said["keep_mb"] is None or said["keep_mb"] < 0,
            "would keep its log without bound while the console is away, until its disk is full",
            "ALTER SYSTEM SET max_slot_wal_keep_size = '4GB'; SELECT pg_reload_conf();",
        ),
        (
            not said["may_replicate"],
            f"does not let its role {said['role']} keep the log",
            f"ALTER ROLE {said['role']} REPLICATION;",
        ),
    ):
        if is_wrong:
            raise PlanRefused(f"{instance.label} {what}", remedy=remedy)


def _choose_database(instance: Instance) -> str:
    """Return the database in which a session may stay: while one is in template1 nobody makes a database."""
    databases = databases_of(instance)
    for name in ("postgres", *databases):
        if name in databases:
            return name
    raise PlanRefused(
        f"{instance.label} has no database but its templates, in which no session may stay",
        remedy="CREATE DATABASE postgres;",
    )


def _warn(runner: Runner, instance: Instance, said: _Answer, tell: Tell) -> None:
    if not said["is_synced"]:
        text = f"{instance.label} runs with fsync off: after a power cut its log may continue another one."
        tell(Said(text, Level.WARNING))
    place = f"{instance.detail('data')}/pg_wal/."
    line = runner.run(as_owner(instance, "df", "-Pk", "--", place)).text.strip().rpartition("\n")[2]
    fields = line.split()
    free_mb = int(fields[3]) // 1024 if len(fields) > 3 and fields[3].isdigit() else None
    if free_mb is not None and free_mb < said["keep_mb"]:
        text = (
            f"{instance.label} may keep {said['keep_mb']:,} MB of its log while the console is away, and "
            f"{free_mb:,} MB are free where it lies: lower max_slot_wal_keep_size, or make room."
        )
        tell(Said(text, Level.WARNING))


def _checked(slot: str) -> str:
    if _SLOT.fullmatch(slot) is None:
        raise ValueError(f"not the name of a slot: {slot!r}")
    return slot
