"""The ticks of a device check, ready to be drawn by parts/ticks.html."""

from __future__ import annotations

from dataclasses import dataclass

from agents.events import CheckState
from backupsite.runs.models import Run, RunCheck
from backupsite.web.status import Status, Tone
from backupsite.web.visible import make_visible

# Names whose words are not simply the name.
WORDS = {
    "restic": "restic",
    "key": "Console's key",
    "privileges": "Root",
    "selinux": "SELinux",
    "tunnel": "Tunnel back to the console",
}
LOOKS: dict[str, tuple[Tone, str]] = {
    CheckState.GOOD: ("good", "good"),
    CheckState.WARNING: ("warn", "warn"),
    CheckState.BAD: ("bad", "failed"),
    CheckState.UNKNOWN: ("off", "off"),
}


@dataclass(frozen=True)
class Tick:
    status: Status
    text: str
    fix: str


def make_ticks(probe: Run | None) -> list[Tick]:
    """Given a check run or None, return its ticks in the order in which they came. Runs one query, or none
    when the checks were prefetched."""
    return [make_tick(check) for check in probe.checks.all()] if probe is not None else []


def make_tick(check: RunCheck) -> Tick:
    """Given one stored tick, return what is drawn. A state that is not known is never drawn as good."""
    tone, icon = LOOKS.get(check.state, LOOKS[CheckState.UNKNOWN])
    return Tick(Status(make_title(check.name), tone, icon), check.text, check.remedy)


def make_title(name: str) -> str:
    """Given a tick's stable name such as "host-key" or "database:redis", return its words."""
    kind, colon, rest = name.partition(":")
    words = WORDS.get(kind, kind.replace("-", " ").capitalize())
    return make_visible(f"{words}{colon} {rest}".strip())
