"""What a drill wrote down."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """One proof and its result. `said` is in the words of the tool that looked, or ours."""

    name: str
    is_passed: bool
    said: str
    seconds: float


@dataclass(frozen=True, slots=True)
class FileHash:
    """A restored file, by its path in the restore point."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What came out of a drill: every check in its order, what was restored, and how long it took.

    `restore_s` is the time until everything lay on the disk and was compared, `start_s` until the application
    answered, `total_s` from the first step to the last check: the measured time to recover. `notes` say what
    the checks cannot see."""

    checks: tuple[Check, ...]
    files: int
    bytes: int
    restore_s: float
    start_s: float
    total_s: float
    hashes: tuple[FileHash, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_passed(self) -> bool:
        """Whether the data is proven: something was checked, and nothing failed."""
        return bool(self.checks) and all(check.is_passed for check in self.checks)

    @property
    def failures(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if not check.is_passed)
