"""What every test can use, and the rule that CI skips nothing."""

from __future__ import annotations

import os
import signal
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.db.backends.base.operations import BaseDatabaseOperations
from django.test import Client

from backupsite.accounts.audit_guard import create_guard, drop_guard
from backupsite.accounts.models import User
from tests import beside
from tests.children import pytest_runtest_teardown

__all__ = ["pytest_runtest_teardown"]
# What /bin/sh is on devices: tests/live/shells.py.
SHELLS = ("dash", "busybox")
_skipped: list[str] = []


def pytest_configure(config: pytest.Config) -> None:
    # A shell that starts the tests in the background has SIGINT ignored, and children inherit that: Ctrl-C
    # could then not be tested.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What takes longest starts first; what is not in the sample of a campaign is left out."""
    items.sort(key=beside.rank)
    if os.environ.get("HOTFLEET_CAMPAIGN") == "full":
        return
    left_out = [item for item in items if _is_left_out(item)]
    if left_out:  # not skipped: in CI a skipped test is a failure
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not _is_left_out(item)]


def _is_left_out(item: pytest.Item) -> bool:
    """Of a test under `one_shell` the sample has the half that its name says, the same in each run."""
    if item.get_closest_marker("full") is not None:
        return True
    shell = next(
        (each for each in SHELLS if item.get_closest_marker("one_shell") and each in _words(item)), ""
    )
    return bool(shell) and SHELLS[zlib.crc32(item.nodeid.replace(shell, "").encode()) % len(SHELLS)] != shell


def _words(item: pytest.Item) -> list[str]:
    return item.nodeid.partition("[")[2].rstrip("]").split("-")


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Which tests run beside which: `Any`, since this hook exists only where xdist does."""
    return beside.make_scheduler(config, log)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        _skipped.append(report.nodeid)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.skipped:
        _skipped.append(report.nodeid)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    # A test that CI skips is a promise that nobody checks.
    if os.environ.get("CI") and _skipped and exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if os.environ.get("CI") and _skipped:
        terminalreporter.section("skipped in CI: this is a failure", red=True)
        for name in _skipped:
            terminalreporter.line(name)


@pytest.fixture(autouse=True, scope="session")
def empty_the_audit_trail_between_tests() -> Iterator[None]:
    """Tests with real transactions empty every table afterwards, which the audit trail's triggers refuse."""
    flush = BaseDatabaseOperations.execute_sql_flush

    def flush_unguarded(self: BaseDatabaseOperations, sql_list: list[str]) -> None:
        drop_guard(connection)
        flush(self, sql_list)
        create_guard(connection)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseDatabaseOperations, "execute_sql_flush", flush_unguarded)
        yield


@pytest.fixture
def needs_root() -> None:
    """Skip what only root can set up when somebody else runs the tests. CI runs as root and skips nothing."""
    if os.geteuid() != 0:
        pytest.skip("needs root")


@pytest.fixture
def person(db: None) -> User:
    """An administrator called "ada" whose password is "correct horse battery"."""
    return User.objects.create_user("ada", "correct horse battery", is_superuser=True)


@pytest.fixture
def operator(person: User) -> Client:
    """A browser in which `person` is signed in."""
    client = Client()
    client.force_login(person)
    return client


@pytest.fixture
def stranger(db: None) -> Client:
    """A browser in which nobody is signed in."""
    return Client()
