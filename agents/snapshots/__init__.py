"""Snapshot providers: one file each, found by scanning this package."""

from __future__ import annotations

import sys
from functools import cache

from agents.errors import PlanRefused
from agents.events import Consistency
from agents.facts import DeviceFacts, Mount
from agents.plugins import find_plugins
from agents.snapshots.contract import Claim, Refusal, SnapshotProvider, Taken

__all__ = ["Claim", "Refusal", "SnapshotProvider", "Taken", "choose", "providers", "snapshot_ability"]

_BEST_FIRST = list(Consistency)


@cache
def providers() -> dict[str, SnapshotProvider]:
    """Return every provider by its name."""
    return find_plugins(sys.modules[__name__], SnapshotProvider.__subclasses__)


def choose(
    path: str, facts: DeviceFacts, *, is_stopped: bool = False
) -> tuple[SnapshotProvider, Claim, list[Refusal]]:
    """Given a real path, return the provider with the best consistency, its claim, and why others cannot.

    `is_stopped`: what writes there stands still meanwhile. Raise PlanRefused when nobody can take it."""
    claims: list[tuple[SnapshotProvider, Claim]] = []
    refusals = []
    for provider in providers().values():
        if provider.needs_stop and not is_stopped:
            continue
        answer = provider.can_take(path, facts)
        if isinstance(answer, Claim):
            claims.append((provider, answer))
        else:
            refusals.append(answer)
    if not claims:
        raise PlanRefused(f"nothing can read {path}", detail="; ".join(each.reason for each in refusals))
    best, claim = min(claims, key=lambda pair: _BEST_FIRST.index(pair[1].consistency))
    return best, claim, refusals


def snapshot_ability(mount: Mount, facts: DeviceFacts) -> tuple[str, Consistency, str]:
    """Given a mount, return (method, consistency, reason) of a hot backup of it, for the device's checks."""
    provider, claim, refusals = choose(mount.point, facts)
    why = (
        "; ".join(each.reason for each in refusals) if claim.consistency is Consistency.NONE else claim.reason
    )
    return provider.name, claim.consistency, why or claim.reason
