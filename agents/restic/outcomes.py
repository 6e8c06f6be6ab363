"""What restic's exit status means (restic's document 075, "Exit codes"). Unknown is never success."""

from __future__ import annotations

from enum import StrEnum

from agents.errors import AgentError, RepositoryBroken, ResticFailed


class Outcome(StrEnum):
    SUCCESS = "success"
    WARNINGS = "warnings"


class RepositoryLocked(ResticFailed):
    """Another restic holds the repository."""

    code = "repository-locked"


def judge(status: int, detail: str = "") -> Outcome:
    """Given restic's exit status, return what came out. Raise the AgentError that says why it failed.

    `detail` is the end of what restic printed on stderr.
    """
    if status == 0:
        return Outcome.SUCCESS
    if status == 3:
        return Outcome.WARNINGS
    raise _failure(status, detail)


def _failure(status: int, detail: str) -> AgentError:
    if status == 10:
        return RepositoryBroken("restic finds no repository", detail=detail)
    if status == 11:
        return RepositoryLocked("another program holds the repository's lock", detail=detail)
    if status == 12:
        return RepositoryBroken("the password does not open the repository", detail=detail)
    if status in (130, 143):
        # Not Cancelled: nobody asked the console, so somebody has to be told that there is no backup.
        return ResticFailed(
            "restic was told to stop by somebody else",
            remedy="Look whether the machine was shut down, or who sent it a signal.",
            detail=detail,
        )
    if status == 137:
        return ResticFailed(
            "restic was killed",
            remedy="Often the device had no memory left: look for the kernel's out-of-memory message.",
            detail=detail,
        )
    if status == 2:
        return ResticFailed("restic crashed", detail=detail)
    return ResticFailed(f"restic ended with status {status}", detail=detail)
