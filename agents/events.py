"""What a flow tells its caller while it runs. Frozen, small, and free of secrets.

Texts may hold words of a device. Who stores them bounds them, who shows them escapes them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Phase(StrEnum):
    """The steps of a run, in the order in which a page draws them."""

    CONNECT = "connect"
    CHECK = "check"
    FREEZE = "freeze"
    SNAPSHOT = "snapshot"
    TRANSFER = "transfer"
    SWAP = "swap"
    VERIFY = "verify"
    CLEAN_UP = "clean-up"


class Level(StrEnum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class CheckState(StrEnum):
    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"
    UNKNOWN = "unknown"


class Consistency(StrEnum):
    """The label of a restore point, best first."""

    APPLICATION = "application"
    FILE_SYSTEM = "file-system"
    CRASH = "crash"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class PhaseStarted:
    phase: Phase


@dataclass(frozen=True, slots=True)
class PhaseEnded:
    phase: Phase
    seconds: float


@dataclass(frozen=True, slots=True)
class Said:
    """A line for the run's log."""

    text: str
    level: Level = Level.INFO


@dataclass(frozen=True, slots=True)
class CommandRan:
    """A command that ran on the device, for "Show commands". `line` has no secret in it."""

    line: str
    status: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Moved:
    """How far a transfer is. Totals are None until restic's scan ends. `stored_bytes` passed the gateway."""

    bytes_done: int
    files_done: int
    stored_bytes: int
    problems: int
    bytes_total: int | None = None
    files_total: int | None = None


@dataclass(frozen=True, slots=True)
class FrozenStep:
    """One step of a freeze: an application was held, a snapshot taken, an application let go."""

    name: str
    milliseconds: float


@dataclass(frozen=True, slots=True)
class Froze:
    """The freeze receipt: what waited (or stood still: `is_stop`) for how long, from quiesce to resume."""

    what: str
    milliseconds: float
    limit_milliseconds: float
    steps: tuple[FrozenStep, ...] = ()
    is_stop: bool = False


@dataclass(frozen=True, slots=True)
class Impact:
    """What the device felt in the `seconds` up to `uptime_s`. Shares are 0 to 1, None: not measured there.

    `cpu` is of all processors; pressure is the share of time in which something waited; disks are the busiest
    one's time, the mean of all operations, the sum of all bytes."""

    uptime_s: float
    seconds: float
    is_paused: bool
    cpu: float
    cpu_pressure: float | None
    io_pressure: float | None
    memory_pressure: float | None
    disk_busy: float
    disk_wait_ms: float
    read_bytes_s: float
    written_bytes_s: float
    network_bytes_s: float
    available_bytes: int | None
    cached_bytes: int | None


@dataclass(frozen=True, slots=True)
class Felt:
    """A line of the impact receipt: one quantity of `Impact`, in the minute before the work, on average and
    at worst during it. None where nobody measured it.

    With a `subject` it is what that application counted itself ("PostgreSQL 15/main"; the names are
    `applications.work`): `before` is then since the backup before."""

    name: str
    before: float | None
    mean: float | None
    worst: float | None
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Throttled:
    """The backup stood still for so long, and why: "backup", "others" or "alone" (see `impact.Pause`)."""

    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class Checked:
    """One tick of a probe. `name` is a stable key, `text` one sentence, `remedy` what to do when not good."""

    name: str
    state: CheckState
    text: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class FileProblem:
    """A file that could not be read, or that changed while it was read."""

    path: str
    text: str


Event = (
    PhaseStarted
    | PhaseEnded
    | Said
    | CommandRan
    | Moved
    | Froze
    | Impact
    | Felt
    | Throttled
    | Checked
    | FileProblem
)
Tell = Callable[[Event], None]
