"""Who may do what: pure rules, and what is kept of a refusal."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from agents.gateway.store import StoreFailed
from agents.gateway.target import Kind, Target

MIB = 1024 * 1024
# restic fills packs to 16 MiB by default and to 128 MiB at most, then adds one blob (8 MiB) and the header.
CAPS = {Kind.DATA: 144 * MIB, Kind.INDEX: 64 * MIB, Kind.SNAPSHOTS: MIB, Kind.LOCKS: MIB}
MAX_LIVE_LOCKS = 10
MAX_REFUSALS = 100
CREATED_BY_BACKUP = (Kind.DATA, Kind.INDEX, Kind.SNAPSHOTS, Kind.LOCKS)


class Rights(StrEnum):
    """What a run may do with the repository. SERVER is the console's own restic, which may remove too."""

    BACKUP = "backup"
    RESTORE = "restore"
    SERVER = "server"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that was not served. Its texts came from the device: escape them before showing."""

    method: str
    target: str
    status: int
    reason: str
    out_of_space: bool = False
    breaks_rule: bool = False


class Refused(Exception):
    """A request is not served, for good. restic does not retry a 403 (it retries a 507 for 15 minutes).

    `breaks_rule`: no honest restic asks for this, so nothing that the run stored can be trusted. False when
    the reason lies with us: a run that is over, a failing disk, a stranger without the run's password.
    """

    def __init__(
        self, status: int, reason: str, *, out_of_space: bool = False, breaks_rule: bool = True
    ) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.out_of_space = out_of_space
        self.breaks_rule = breaks_rule

    @classmethod
    def by_store(cls, error: StoreFailed) -> Refused:
        """Given why the store could not do it, return the refusal: nobody broke a rule."""
        return cls(403, error.reason, out_of_space=error.out_of_space, breaks_rule=False)


def check_rights(method: str, target: Target | None, rights: Rights) -> Target:
    """Given a request, return its target when the rights allow it. Raise Refused when they do not."""
    if target is None:
        raise Refused(404, "the path is not one of a repository")
    if method not in ("GET", "HEAD", "POST", "DELETE"):
        raise Refused(405, "the method is not one of restic's")
    if target.kind is Kind.ROOT:
        raise Refused(403, "a repository is created, listed and removed by the console only")
    if method in ("GET", "HEAD"):
        if method == "HEAD" and target.is_folder:
            raise Refused(405, "a folder can only be listed")
        return target
    if target.is_folder:
        raise Refused(405, "a folder can only be listed")
    if method == "DELETE":
        return _check_delete(target, rights)
    return _check_post(target, rights)


def _check_delete(target: Target, rights: Rights) -> Target:
    if rights is Rights.SERVER and target.kind in CREATED_BY_BACKUP:
        return target
    if target.kind is not Kind.LOCKS:
        raise Refused(403, "a device may not delete anything from its repository")
    return target


def _check_post(target: Target, rights: Rights) -> Target:
    if target.kind not in CREATED_BY_BACKUP:
        raise Refused(403, f"only the console writes {target.kind}")
    if rights is Rights.RESTORE and target.kind is not Kind.LOCKS:
        raise Refused(403, "a restore may not add to the repository")
    return target


def check_length(target: Target, length: int | None) -> int:
    """Given what a POST announces, return its length. Raise Refused when it is missing or over the cap."""
    if length is None:
        raise Refused(411, "an upload must announce its length")
    cap = CAPS[target.kind]
    if length > cap:
        raise Refused(403, f"a file in {target.kind} may have {cap} bytes, this one announces {length}")
    if length == 0:
        raise Refused(403, "an empty file is never restic's")
    return length
