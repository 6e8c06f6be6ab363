"""Which tests may run beside which, when several processes run them (script/test).

The tests of a file share what it sets up; those of the lab share one machine; those of an application look
for every server of it on this machine, and would find each other's: but those that start none are as any
file. Who looks for one application sees nothing of another."""

from __future__ import annotations

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

_LOOK_AROUND = (
    "test_app_",
    "test_comeback",
    "test_drill_",
    "test_group",
    "test_site_drill_servers",
    "test_site_wal",
    "test_wal",
)
_START_NONE = (
    "test_app_sqlite",
    "test_app_command",
    "test_comeback_sqlite",
    "test_drill_files",
    "test_drill_samples",
)
# Their names do not say that it is PostgreSQL.
_OF_POSTGRESQL = ("test_comeback_kills", "test_group", "test_site_wal", "test_wal")
# Looked for in the test's id, its parameters too; all other applications are one place.
_APPLICATIONS = ("postgresql", "mariadb")
# What takes longest starts first, so that it does not end last.
_FIRST = ("tests/vm/", "tests/live/", "tests/browser/")


class ByPlace(LoadScopeScheduling):
    """Gives one process all tests of a place."""

    def _split_scope(self, nodeid: str) -> str:
        return find_place(nodeid)


def find_place(nodeid: str) -> str:
    """Given a test's id, return what it shares with others."""
    path = nodeid.partition("::")[0]
    if path.startswith("tests/vm/"):
        return "lab"
    name = path.rpartition("/")[2]
    is_live = path.startswith(("tests/live/", "tests/browser/"))
    if not is_live or not name.startswith(_LOOK_AROUND) or name.startswith(_START_NONE):
        return path
    if name.startswith(_OF_POSTGRESQL):
        return "postgresql"
    return next((each for each in _APPLICATIONS if each in nodeid), "other applications")


def rank(item: pytest.Item) -> int:
    """Given a test, return when it starts: a smaller number is earlier."""
    return next((at for at, folder in enumerate(_FIRST) if item.nodeid.startswith(folder)), len(_FIRST))


def make_scheduler(config: pytest.Config, log: Producer) -> ByPlace:
    """Return the scheduler that xdist asks for."""
    return ByPlace(config, log)
