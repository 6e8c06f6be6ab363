"""Which restore points a second copy holds, however short the time is for which a policy keeps them there."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from datetime import datetime
from uuid import UUID

from backupsite.recovery.models import RestorePoint


def find_newest(points: Iterable[RestorePoint]) -> set[UUID]:
    """Given restore points of one repository, return those that a second copy holds however old they are: of
    each source, hot and cold apart, the newest, and the newest one to rely on. Pure."""
    by_history: dict[Hashable, dict[datetime, list[RestorePoint]]] = {}
    for point in points:
        history = (point.policy_id, point.source, point.method.startswith("cold"))
        by_history.setdefault(history, {}).setdefault(point.made_at, []).append(point)
    kept: set[UUID] = set()
    for moments in by_history.values():
        good = [moment for moment, found in moments.items() if all(map(_is_good, found))]
        for moment in {max(moments), max(good, default=max(moments))}:
            kept |= {point.pk for point in moments[moment]}
    return kept


def _is_good(point: RestorePoint) -> bool:
    return point.is_complete and not point.damage and point.drill_state != RestorePoint.REFUTED
