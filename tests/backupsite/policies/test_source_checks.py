"""What a row takes: hostile texts are refused with a sentence, never with a fault."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agents.applications.services import stop_around
from backupsite.policies import source_checks as checks
from backupsite.policies.durations import parse_pause, show_pause
from tests.backupsite.hostile import GENERIC, MARKUP, SHELL


@pytest.mark.parametrize("text", GENERIC + MARKUP + SHELL)
@pytest.mark.parametrize(
    "check",
    [
        checks.check_instance,
        checks.check_group,
        checks.check_services,
        checks.check_command,
        checks.check_freeze,
        checks.check_downtime,
    ],
)
def test_nothing_typed_is_a_fault(check: Callable[[str], object], text: str) -> None:
    said = ""
    try:
        check(text)
    except ValueError as error:
        said = str(error)
    assert len(said) < 200


_NO_SERVICES = ["-rf", "a b", "nginx\x00", "x\u202ey", "\x1b[2J", "a" * 201]
_PATTERNS = ["*", "ssh*.service", "postgres?", "db@[ab]", "../passwd", "a/b", "/etc/init.d/x", ".hidden"]


@pytest.mark.parametrize(
    "text",
    [
        *(_NO_SERVICES + _PATTERNS),
        "nginx.service\n*",
        "container:*",
        "container:-x",
        "container:.x",
        "container:",
    ],
)
def test_what_is_no_service(text: str) -> None:
    """What reached systemctl as a pattern would stop every unit that it matches."""
    with pytest.raises(ValueError, match="one word a line"):
        checks.check_services(text)


def test_too_many_services() -> None:
    with pytest.raises(ValueError, match="At most 20 services"):
        checks.check_services("\n".join("abcdefghijklmnopqrstu"))


def test_services_are_once_each_and_what_stops_them_takes_them() -> None:
    names = checks.check_services(" nginx.service\r\n\r\ncontainer:web\nnginx.service\n")
    assert names == "nginx.service\ncontainer:web"
    stop_around(names.split("\n"))


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("500 ms", 500), ("10s", 10_000), (" 2 MIN ", 120_000), ("1 h", 3_600_000), ("0 s", 0)],
)
def test_pauses_are_read(text: str, milliseconds: int) -> None:
    assert parse_pause(text) == milliseconds
    assert parse_pause(show_pause(milliseconds)) == milliseconds


@pytest.mark.parametrize("text", ["", "10", "s", "-1 s", "1.5 s", "١٠ s", "1e3 s", "9999999 s", "10 s 5 ms"])
def test_what_is_no_pause(text: str) -> None:
    with pytest.raises(ValueError, match="like 500 ms"):
        parse_pause(text)


def test_limits_of_pauses() -> None:
    assert checks.check_freeze("10 s") == 10_000 and checks.check_downtime("24 h") == 86_400
    for text in ("0 ms", "11 s", "1 h"):
        with pytest.raises(ValueError):
            checks.check_freeze(text)
    for text in ("999 ms", "25 h"):
        with pytest.raises(ValueError):
            checks.check_downtime(text)
