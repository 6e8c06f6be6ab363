"""The drills of the demo: the evidence that its restore points can be restored."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

from backupsite.demo.backups import Backups, Place
from backupsite.demo.fates import DAY
from backupsite.demo.machines import Data
from backupsite.policies.models import Policy
from backupsite.recovery.drill_models import Drill, DrillRule
from backupsite.recovery.models import RestorePoint

_WEEKS = 12
_MOST = 200
_RTO = timedelta(hours=4)


def make_drills(places: list[Place], made: list[Backups], now: datetime) -> None:
    """Store a drill a week of the last source of the first machines; mark what they proved."""
    for policy in {place.policy.pk: place.policy for place in places}.values():
        DrillRule.objects.create(policy=policy, rhythm=_rhythm_of(policy), rto=_RTO)
    proven: list[RestorePoint] = []
    drills: list[Drill] = []
    for place, backups in zip(places[:_MOST], made, strict=False):
        source = place.machine.role.sources[-1]
        points = [point for point in backups.points if point.source == source.key and not point.damage]
        for week, point in _pick_weekly(points, now):
            drills.append(_make_drill(place, source, point, now, week))
            if drills[-1].result != Drill.IMPOSSIBLE:
                point.drill_state = (
                    RestorePoint.PROVEN if drills[-1].result == Drill.PASSED else RestorePoint.REFUTED
                )
                point.verified_at = drills[-1].at
                proven.append(point)
    Drill.objects.bulk_create(drills, 2000)
    RestorePoint.objects.bulk_update(proven, ["drill_state", "verified_at"], 500)


def _rhythm_of(policy: Policy) -> str:
    return DrillRule.MONTHLY if policy.rpo > 2 * DAY else DrillRule.WEEKLY


def _pick_weekly(points: list[RestorePoint], now: datetime) -> list[tuple[int, RestorePoint]]:
    """Return the newest restore point of each of the last weeks that has one, with the week's number."""
    picked: dict[int, RestorePoint] = {}
    for point in points:
        week = (now - point.made_at).days // 7
        if week < _WEEKS:
            picked.setdefault(week, point)
    return list(picked.items())


def _make_drill(place: Place, source: Data, point: RestorePoint, now: datetime, week: int) -> Drill:
    chance = random.Random(f"{point.pk} drill")
    restore_s = point.size_bytes / 110e6 * chance.uniform(0.8, 1.3)
    start_s = chance.uniform(2, 9) if source.application else 0.0
    is_bad = week > 0 and chance.random() < 0.012
    checks: list[list[object]] = [["Files", True, "40 of 40 files are what was stored", 6.2]]
    if source.application:
        checks += [
            ["Starts", True, f"It was up after {start_s:.1f} s", start_s],
            [
                "Reads all",
                not is_bad,
                "1 table could not be read" if is_bad else "All tables were read",
                41.0,
            ],
        ]
    elif is_bad:
        checks[0] = ["Files", False, "1 of 40 files is not what was stored", 6.2]
    return Drill(
        device=place.device,
        policy=place.policy,
        source=source.key,
        made_at=point.made_at,
        at=min(point.made_at + timedelta(hours=2), now),
        machine="Console",
        result=Drill.FAILED if is_bad else Drill.PASSED,
        checks=checks,
        files=point.file_count,
        bytes=point.size_bytes,
        restore_s=restore_s,
        start_s=start_s,
        total_s=restore_s + start_s + 47,
        rto=_RTO,
    )
