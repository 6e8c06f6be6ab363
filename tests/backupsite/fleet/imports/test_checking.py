"""What becomes of each device of a file."""

from __future__ import annotations

import pytest

from backupsite.fleet.devices import Jump
from backupsite.fleet.imports.checking import Candidate, Present, check_rows
from backupsite.fleet.imports.known_hosts import KnownHosts
from backupsite.fleet.imports.rows import JumpText, Row

THERE = [Present("web-1", "10.0.0.1", 22), Present("far", "10.0.0.9", 22, ("gate.example.org", 22))]


def check(*rows: Row) -> list[Candidate]:
    return check_rows(rows, THERE, KnownHosts())


def test_a_device_is_new_there_already_or_refused() -> None:
    new, same, other = check(
        Row(1, "web-2", "10.0.0.2", "2222", "deploy", ("web",), JumpText("gate.example.org")),
        Row(2, "WEB-1", "10.0.0.1"),
        Row(3, "web-1", "10.0.0.3"),
    )
    assert (new.fate, same.fate, other.fate) == ("new", "present", "refused")
    assert new.reach is not None
    # A jump host whose user is not said is asked as the device's user.
    assert new.reach.jump == Jump("gate.example.org", 22, "deploy")
    assert other.reason == "Another device has this name; it is reached at 10.0.0.1:22."


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (Row(1, "", "10.0.0.2"), "Give it a name."),
        (Row(1, "a\x1b[2J", "10.0.0.2"), "The name holds a character that cannot be seen."),
        (Row(1, "=1+1", "10.0.0.2"), "Begin the name with a letter or a digit."),
        (Row(1, "x" * 65, "10.0.0.2"), "At most 64 characters; this has 65."),
        (Row(1, "a", "10.0.0"), "The address must be a host name such as db1.example.org or an IP address."),
        (Row(1, "a", "0.0.0.0"), "This address belongs to no single machine."),
        (Row(1, "a", "localhost"), "This is the console's own machine."),
        (Row(1, "a", "10.0.0.2", "0"), "The port must be a number from 1 to 65535."),
        (Row(1, "a", "10.0.0.2", "٣"), "The port must be a number from 1 to 65535. SSH is usually at 22."),
        (Row(1, "a", "10.0.0.2", "22", "Root"), "The user must start with a small letter"),
        (Row(1, "a", "10.0.0.2", tags=("x" * 41,)), "A tag: At most 40 characters; this has 41."),
        (Row(1, "a", "10.0.0.2", tags=tuple(map(str, range(51)))), "At most 50 tags; these are 51."),
        (
            Row(1, "a", "10.0.0.2", jump=JumpText("10.0.0.2")),
            "Jump host: This is the device itself. A jump host is another machine.",
        ),
        (Row(1, "a", "10.0.0.2", problem="No."), "No."),
        (Row(1, "a", "10.0.0.1"), "The device web-1 is reached at this address and port already."),
    ],
)
def test_a_refused_device_has_its_reason(row: Row, reason: str) -> None:
    (refused,) = check(row)
    assert (refused.fate, refused.reason[: len(reason)]) == ("refused", reason)


def test_twins_of_one_file_are_found() -> None:
    first, name, place, behind = check(
        Row(1, "a", "10.0.0.2"),
        Row(2, "A", "10.0.0.3"),
        Row(3, "b", "10.0.0.2"),
        Row(4, "c", "10.0.0.2", jump=JumpText("gate.example.org")),
    )
    assert first.fate == "new"
    assert name.reason == "Line 1 has this name already."
    assert place.reason == "The device a is reached at this address and port already."
    # Behind a jump host the same address is another machine.
    assert behind.fate == "new"


def test_five_hundred_devices_are_taken_and_one_more_is_not() -> None:
    rows = [Row(number, f"h{number}", f"h{number}.example.org") for number in range(501)]
    assert len(check(*rows[:500])) == 500
    with pytest.raises(ValueError, match="More than 500 devices"):
        check(*rows)
