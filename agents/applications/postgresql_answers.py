"""What the device says about its PostgreSQL clusters, understood.

What root found out is framed strictly. What a cluster's owner answered is believed for that cluster only:
when it cannot be understood, the cluster has a problem, and the others have none.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from agents.errors import ProtocolBroken
from agents.facts import Detail, DeviceFacts, Instance
from agents.facts.mounts import is_within, mounts_below
from agents.facts.wire import parse_number, split_fields

APPLICATION = "postgresql"
# What the server counts; `work` of the plug-in says what two counts mean.
COUNTS = ("counted_at", "started_at", "transactions", "active_ms")
_MOST_BYTES = 64 << 20
_USER = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.\\@-]{0,255}\$?")
_UNIT = re.compile(r"[A-Za-z0-9:_.\\@-]{0,255}")
_VERSION = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3})?")
_DEFAULT = re.compile(r"/var/lib/postgresql/([0-9.]{1,8}/[^/\s]{1,100})")
_HOW_TO_ASK = "See why with: sudo -u {owner} psql"


@dataclass(slots=True)
class _Cluster:
    """What root found: a data directory, its server's process (0: none), whose it is, what the owner said."""

    directory: str
    pid: int
    owner: str = ""
    unit: str = ""
    answer: bytes = b""
    failure: str = ""


@dataclass(slots=True)
class _Answer:
    """What the owner of a cluster answered. `state` is the server's own, None when it said nothing."""

    version: str = ""
    places: list[tuple[str, str]] = field(default_factory=list)
    programs: dict[str, str] = field(default_factory=dict)
    database: str = ""
    socket: str = ""
    port: str = ""
    state: dict[str, object] | None = None
    size_bytes: int | None = None
    failure: str = ""
    refusals: dict[str, str] = field(default_factory=dict)


def parse_clusters(output: bytes, facts: DeviceFacts) -> tuple[Instance, ...]:
    """Given what `make_look` printed, return the clusters. Raise ProtocolBroken when it is something else."""
    if len(output) > _MOST_BYTES:
        raise ProtocolBroken("the list of PostgreSQL clusters is endless")
    found: dict[str, _Cluster] = {}
    names: dict[str, str] = {}
    current: _Cluster | None = None
    for word, first, second in split_fields(output, 3):
        if word == "known":
            names.setdefault(first, second)
        elif word == "cluster":
            current = _Cluster(first, parse_number(second, "a process id"))
            found.setdefault(_checked_path(first), current)
        elif current is not None:
            _add_fact(current, word, first, second)
        else:
            raise ProtocolBroken("a fact belongs to no PostgreSQL cluster", detail=repr(word[:200]))
    instances = (_make_instance(each, names, facts) for each in found.values())
    return tuple(each for each in instances if each is not None)


def _checked_path(path: str) -> str:
    if not path.startswith("/") or path == "/" or posixpath.normpath(path) != path or "\0" in path:
        raise ProtocolBroken("not the path of a directory", detail=repr(path[:300]))
    return path


def _add_fact(cluster: _Cluster, word: str, first: str, second: str) -> None:
    if word == "owner" and _USER.fullmatch(first) and first != "root" and _UNIT.fullmatch(second):
        cluster.owner, cluster.unit = first, second
    elif word == "answer":
        try:
            cluster.answer = bytes.fromhex(first)
        except ValueError as error:
            raise ProtocolBroken("an answer is not hexadecimal", detail=repr(first[:200])) from error
    elif word == "failed":
        cluster.failure = first[:300]
    else:
        raise ProtocolBroken("an unknown fact of a PostgreSQL cluster", detail=repr((word, first))[:500])


def _make_instance(cluster: _Cluster, names: dict[str, str], facts: DeviceFacts) -> Instance | None:
    """Return None for what only has the name of a PostgreSQL server."""
    if not cluster.owner:
        raise ProtocolBroken("a PostgreSQL cluster belongs to nobody", detail=cluster.directory[:300])
    answer = _read_answer(cluster)
    if not _VERSION.fullmatch(answer.version) and not answer.failure:
        return None
    name = _name_of(cluster.directory, names)
    problems = []
    if answer.failure:
        remedy = _HOW_TO_ASK.format(owner=cluster.owner)
        problems.append(f"PostgreSQL {name} could not be asked: {answer.failure}. {remedy}")
    if answer.state is not None:
        problems += _lacks(name, answer.state)
    problems += [f"{link} leads nowhere. Repair the link." for link, place in answer.places if not place]
    return Instance(
        application=APPLICATION,
        name=name,
        label=f"PostgreSQL {name}",
        version=_version_of(answer),
        places=_places_of(cluster.directory, answer, facts),
        service=cluster.unit,
        is_running=cluster.pid != 0,
        details=tuple(_details_of(cluster, answer)),
        problems=tuple(problems),
    )


def _lacks(name: str, state: dict[str, object]) -> Iterable[str]:
    """What keeps the server from being backed up in the best ways, wherever its files lie."""
    if state.get("is_superuser") is not True:
        role = str(state.get("role"))[:100]
        yield f"The role {role} is no superuser: PostgreSQL {name} cannot be dumped whole. Make it one."
    if _words(state, "settings").get("full_page_writes") != "on":
        yield (
            f"full_page_writes is off: a snapshot of PostgreSQL {name} might hold half a page. "
            "Turn it on, or choose a stream or a dump."
        )


def _name_of(directory: str, names: dict[str, str]) -> str:
    """Debian's name where Debian knows it, or would: the directory's own where another has that name."""
    for name, known in names.items():
        if known == directory:
            return name
    match = _DEFAULT.fullmatch(directory)
    return match[1] if match is not None and names.get(match[1], directory) == directory else directory


def _version_of(answer: _Answer) -> str:
    number = _number(answer.state, "version") if answer.state is not None else 0
    if number >= 100_000:
        return f"{number // 10_000}.{number % 10_000}"
    if number:
        return f"{number // 10_000}.{number // 100 % 100}.{number % 100}"
    return answer.version


def _places_of(directory: str, answer: _Answer, facts: DeviceFacts) -> tuple[str, ...]:
    """The data directory, what its links lead to, and what is mounted inside of either.

    None at all unless every link was read and leads somewhere: half of a cluster is no backup."""
    if not answer.version or not all(place for _, place in answer.places):
        return ()
    places = [directory, *(place for _, place in answer.places if place)]
    places += [
        mount.point for place in places for mount in mounts_below(place, facts.mounts) if not mount.is_pseudo
    ]
    points = {mount.point for mount in facts.mounts}
    kept: list[str] = []
    for place in sorted(dict.fromkeys(places), key=len):
        if place in points or not any(is_within(place, each) for each in kept):
            kept.append(place)
    return tuple(sorted(kept, key=lambda place: place != directory))


def _details_of(cluster: _Cluster, answer: _Answer) -> Iterable[Detail]:
    yield Detail("data", cluster.directory)
    yield Detail("owner", cluster.owner)
    state = answer.state
    if state is None:
        return
    for program in sorted(answer.programs):
        yield Detail(program, answer.programs[program])
    yield Detail("asked_in", answer.database)
    yield Detail("socket", answer.socket)
    yield Detail("port", answer.port)
    settings = _words(state, "settings")
    for name in sorted(settings):
        yield Detail(name, settings[name])
    for name in ("is_standby", "is_superuser", "may_checkpoint", "may_replicate"):
        yield Detail(name, "yes" if state.get(name) is True else "no")
    yield Detail("role", str(state.get("role"))[:255])
    for name in COUNTS:
        count = state.get(name)
        if isinstance(count, int | float) and not isinstance(count, bool):
            yield Detail(name, f"{count:.3f}")
    if answer.size_bytes is not None:
        yield Detail("size_bytes", str(answer.size_bytes))
    yield Detail("replication", answer.refusals.get("replication", "yes"))
    yield Detail("tools", answer.refusals.get("tools", "yes"))
    for database, may_connect in _pairs(state, "databases"):
        yield Detail("database" if may_connect is True else "closed_database", database)
    for _, location in _pairs(state, "tablespaces"):
        if isinstance(location, str) and location:
            yield Detail("tablespace", location)


def _read_answer(cluster: _Cluster) -> _Answer:
    """Return what the owner of a cluster said, or why it is not believed: all of it or nothing."""
    if cluster.failure:
        return _Answer(failure=cluster.failure)
    answer = _Answer()
    try:
        _parse_answer(answer, cluster.answer)
    except ProtocolBroken as error:
        return _Answer(failure=f"its answer cannot be understood: {error.message}")
    return answer


def _parse_answer(answer: _Answer, said: bytes) -> None:
    """Raise ProtocolBroken when the owner of a cluster said something else."""
    for word, first, second in split_fields(said, 3):
        if word == "version":
            answer.version = first
        elif word == "place":
            answer.places.append((first[:500], _checked_path(second) if second else ""))
        elif word == "server":
            answer.socket, answer.port = _checked_path(first) if first else "", second
            parse_number(second or "0", "a port")
        elif word == "program":
            answer.programs[first[:100]] = _checked_path(second)
        elif (word, first) == ("said", "database"):
            answer.database = second
        elif (word, first) == ("said", "state"):
            answer.state = _parse_state(second)
        elif (word, first) == ("said", "sizes"):
            answer.size_bytes = sum(_parse_sizes(second))
        elif (word, first) == ("failed", "state"):
            answer.failure = _shorten(second)
        elif word == "failed" and first in ("replication", "tools"):
            answer.refusals[first] = _shorten(second) or "no answer"
        elif (word, first) != ("said", "replication"):
            raise ProtocolBroken("an unknown word")


def _shorten(text: str) -> str:
    """The last line of what psql said: warnings come before the reason."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    reason = lines[-1] if lines else "it did not answer in time"
    return (reason.partition('" failed: ')[2] or reason).removeprefix("FATAL:  ")[:300].rstrip(".")


def _last_json(text: str) -> object:
    """Return what the last line holds; warnings may come before it."""
    try:
        value: object = json.loads(text.rpartition("\n")[2])
    except (ValueError, RecursionError) as error:
        raise ProtocolBroken("no JSON") from error
    return value


def _parse_state(text: str) -> dict[str, object]:
    state = _last_json(text)
    if not isinstance(state, dict):
        raise ProtocolBroken("no state of a server")
    _number(state, "version")
    _words(state, "settings")
    if not _pairs(state, "databases"):
        raise ProtocolBroken("a server without databases")
    _pairs(state, "tablespaces")
    return state


def _parse_sizes(text: str) -> Iterable[int]:
    for _, size in _pairs({"sizes": _last_json(text)}, "sizes"):
        if not isinstance(size, int) or not 0 <= size < 1 << 63:
            raise ProtocolBroken("the size of a database is none")
        yield size


def _number(state: dict[str, object], name: str) -> int:
    value = state.get(name)
    if not isinstance(value, int) or not 0 <= value < 10_000_000:
        raise ProtocolBroken(f"{name} is not a number")
    return value


def _words(state: dict[str, object], name: str) -> dict[str, str]:
    value = state.get(name)
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise ProtocolBroken(f"{name} are no words")
    return {str(key)[:100]: each for key, each in value.items()}


def _pairs(state: dict[str, object], name: str) -> list[tuple[str, object]]:
    value = state.get(name)
    pairs: list[tuple[str, object]] = []
    for each in value if isinstance(value, list) else [None]:
        if not isinstance(each, list) or len(each) != 2 or not isinstance(each[0], str) or "\0" in each[0]:
            raise ProtocolBroken(f"{name} are no pairs")
        pairs.append((each[0], each[1]))
    return pairs


def names_of(instance: Instance, detail: str) -> tuple[str, ...]:
    """Given an instance, return every value of a detail that it may have several times ("database")."""
    return tuple(each.value for each in instance.details if each.name == detail)
