"""What MariaDB and MySQL servers said about themselves, as instances."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from agents.errors import ProtocolBroken
from agents.facts import Detail, Instance
from agents.facts.wire import parse_number, split_fields

_VERSION = re.compile(r"^(\d{1,3})\.(\d{1,3})\.(\d{1,3})")
_MOST_ROWS = 5000
_DATABASE = "database "
_MOST_PLACES = 50
# Engines whose tables lie whole in the directories of the server, and which a backup of ours brings back.
_OWN_ENGINES = ("InnoDB", "MyISAM", "Aria", "CSV", "ARCHIVE", "MRG_MyISAM", "MEMORY", "BLACKHOLE", "SEQUENCE")
# Whose tables a transaction holds still, or which have no rows on a disk.
_TRANSACTIONAL = ("InnoDB", "MEMORY", "BLACKHOLE", "SEQUENCE")
_LOGIN_REMEDY = (
    "Let root in through the socket (MariaDB: ALTER USER root@localhost IDENTIFIED VIA unix_socket), or put "
    "a [client] section with a user and a password into /root/.my.cnf, mode 0600."
)


@dataclass(slots=True)
class _Server:
    """What the script said about one server. `pid` 0: it does not run."""

    pid: int
    data: str
    service: str
    flavour: str = ""
    socket: str = ""
    places: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    said: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def parse_servers(output: bytes, flavour: str, label: str) -> tuple[Instance, ...]:
    """Given what the command printed, return the instances of one flavour ("mariadb", "mysql"): the data
    directory tells it. Raise ProtocolBroken when it cannot be understood."""
    rows = split_fields(output, 4)
    if len(rows) > _MOST_ROWS:
        raise ProtocolBroken("a device names more about its MariaDB servers than it can have")
    programs: dict[str, tuple[str, str]] = {}
    servers: list[_Server] = []
    for word, name, value, other in rows:
        if word == "program":
            programs[name] = (value, other)
        elif word == "server":
            servers.append(_Server(parse_number(name, "a process id"), value, other))
        elif servers:
            _note(servers[-1], word, name, value)
        else:
            raise ProtocolBroken("something is said about no MariaDB server", detail=repr(word[:80]))
    return tuple(_make_instance(each, programs, label) for each in servers if each.flavour == flavour)


def _note(server: _Server, word: str, name: str, value: str) -> None:
    match word:
        case "flavour":
            server.flavour = value
        case "socket":
            server.socket = value
        case "place":
            server.places.append(value)
        case "broken":
            server.broken.append(value)
        case "said":
            server.said[name] = value
            server.failed.pop("state", None)  # another socket of it did not answer
        case "failed":
            server.failed[name] = value
        case _:
            raise ProtocolBroken("a word about a MariaDB server is unknown", detail=repr(word[:80]))


def _make_instance(server: _Server, programs: Mapping[str, tuple[str, str]], label: str) -> Instance:
    version = _VERSION.match(server.said.get("version", ""))
    is_running = server.pid > 0
    return Instance(
        application=server.flavour,
        name=server.data,
        label=f"{label} {server.data}",
        version=version[0] if version is not None else "",
        places=_outermost([server.data, *server.places]),
        service=server.service,
        is_running=is_running,
        details=tuple(_details(server, programs)),
        problems=tuple(_problems(server) if is_running else _stopped_problems(server)),
    )


def _details(server: _Server, programs: Mapping[str, tuple[str, str]]) -> list[Detail]:
    found = [Detail("socket", server.socket)]
    found += [Detail(name, path) for name, (path, _) in programs.items()]
    found += [Detail(f"{name}-version", _dotted(said)) for name, (_, said) in programs.items()]
    names = ("log_bin", "read_only", "longest_statement_s", "longest_transaction_s")
    found += [Detail(name, server.said[name]) for name in names if name in server.said]
    engines = _engines(server)
    if engines is not None:
        others = sum(count for name, count in engines.items() if name not in _TRANSACTIONAL)
        found += [Detail("tables", ", ".join(f"{count} {name}" for name, count in sorted(engines.items())))]
        found += [Detail("other_tables", str(others))]
        found += [Detail("databases", "\n".join(_databases(server)))]
    return found


def _databases(server: _Server) -> list[str]:
    """Return the names of its databases. The client writes a backslash before what is no plain letter."""
    names = (name.removeprefix(_DATABASE) for name in server.said if name.startswith(_DATABASE))
    return sorted(name for name in names if "\\" not in name)


def _engines(server: _Server) -> dict[str, int] | None:
    """Return how many tables each engine has, None when nobody could count them."""
    if "state" in server.failed or "engines" in server.failed or "version" not in server.said:
        return None
    pairs = [
        (name.removeprefix("engine "), count)
        for name, count in server.said.items()
        if name.startswith("engine ")
    ]
    return {name: parse_number(count, "a number of tables") for name, count in pairs}


def _problems(server: _Server) -> list[str]:
    said = []
    if not _VERSION.match(server.said.get("version", "")):
        why = server.failed.get("state", "it gave no answer that makes sense").strip()[:300]
        said.append(f"It could not be asked: {why}. {_LOGIN_REMEDY}")
    said += [f"{entry} leads to nowhere, or to files of somebody else." for entry in server.broken[:5]]
    if len(server.places) > _MOST_PLACES:
        said.append(f"Its files lie in more than {_MOST_PLACES} directories.")
    if "/" in server.said.get("innodb_data_file_path", "") or server.said.get("innodb_directories", ""):
        said.append("It keeps InnoDB files in places that only its configuration names.")
    for name in sorted(_engines(server) or ()):
        if name not in _OWN_ENGINES:
            said.append(
                f"Tables of the engine {name} may keep their rows elsewhere: back those up by themselves."
            )
    return said


def _stopped_problems(server: _Server) -> list[str]:
    return [
        "It does not run: what its configuration keeps elsewhere (a binary log, InnoDB files) is not known.",
        *(f"{entry} leads to nowhere, or to files of somebody else." for entry in server.broken[:5]),
    ]


def _outermost(places: list[str]) -> tuple[str, ...]:
    """Given real directories, return them sorted without those inside of others. Raise ProtocolBroken for
    what is no real path."""
    kept: list[str] = []
    for place in sorted(set(places)):
        if not place.startswith("/") or posixpath.normpath(place) != place or place == "/":
            raise ProtocolBroken("a place of a MariaDB server is no real directory", detail=repr(place[:300]))
        if not any(place.startswith(f"{outer}/") for outer in kept):
            kept.append(place)
    return tuple(kept)


def _dotted(said: str) -> str:
    """Given what a program says of its version, return the number of the server that it was made for."""
    for before in ("based on (?:MariaDB|MySQL) server ", "Distrib ", "Ver "):
        found = re.search(rf"{before}(\d{{1,3}}(?:\.\d{{1,3}}){{1,3}})", said)
        if found is not None:
            return found[1]
    return ""
