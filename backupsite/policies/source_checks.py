"""Which instances, services, groups and pauses a source takes. Pure: each check raises ValueError with one
sentence."""

from __future__ import annotations

from agents.applications.services import is_service_name
from backupsite.policies.durations import parse_pause

LONGEST_NAME_BYTES = 200
MOST_SERVICES = 20
LONGEST_COMMAND_BYTES = 16 * 1024
# An application that waits longer than this has stopped, whatever we call it.
LONGEST_FREEZE_MS = 10_000
LONGEST_DOWNTIME_MS = 24 * 3_600_000


def check_instance(text: str) -> str:
    """Given the name of an instance, or of a command's stream, return it."""
    return _check_name(text, "The name")


def check_group(text: str) -> str:
    """Given the name of a consistency group, "" for none, return it."""
    name = _check_name(text, "The group") if text.strip() else ""
    if len(name) > 64:
        raise ValueError("At most 64 characters.")
    return name


def _check_name(text: str, what: str) -> str:
    name = text.strip(" ")
    if not name or not name.isprintable():
        raise ValueError(f"{what} holds a character that cannot be seen, or nothing.")
    if len(name.encode()) > LONGEST_NAME_BYTES:
        raise ValueError(f"At most {LONGEST_NAME_BYTES} bytes.")
    return name


def check_services(text: str) -> str:
    """Given names of services, one a line, return them without empty lines."""
    names = [line.strip() for line in text.replace("\r\n", "\n").split("\n") if line.strip()]
    if len(names) > MOST_SERVICES:
        raise ValueError(f"At most {MOST_SERVICES} services; these are {len(names)}.")
    for name in names:
        is_short = len(name.encode()) <= LONGEST_NAME_BYTES
        if not is_short or not is_service_name(name):
            raise ValueError(
                "A service is one word a line, no path and no pattern, for example nginx.service or "
                "container:web."
            )
    return "\n".join(dict.fromkeys(names))


def check_command(text: str) -> str:
    """Given a line of shell (or several), return it."""
    command = text.replace("\r\n", "\n").strip()
    if not command or "\0" in command:
        raise ValueError("Give the command whose output is kept, for example pg_dumpall --globals-only.")
    if len(command.encode()) > LONGEST_COMMAND_BYTES:
        raise ValueError("At most 16 KiB: put a longer one into a script on the device and name the script.")
    return command


def check_freeze(text: str) -> int:
    """Given the longest freeze as typed, return milliseconds."""
    milliseconds = parse_pause(text)
    if not 0 < milliseconds <= LONGEST_FREEZE_MS:
        raise ValueError(
            "From 1 ms to 10 s: an application that waits longer has stopped. Take it cold then."
        )
    return milliseconds


def check_downtime(text: str) -> int:
    """Given the longest downtime as typed, return whole seconds."""
    milliseconds = parse_pause(text)
    if not 1000 <= milliseconds <= LONGEST_DOWNTIME_MS:
        raise ValueError("From 1 s to 24 h.")
    return milliseconds // 1000
