"""Drills that the rules of policies ask for: claimed when they are due, told when none comes to a result."""

from __future__ import annotations

import logging
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce
from django.urls import reverse

from backupsite.alerts import notices
from backupsite.policies.models import PolicyDevice, Source
from backupsite.policies.naming import name_source
from backupsite.policies.windows import MODE_OUT
from backupsite.recovery.drill_models import Drill, DrillRule, DrillTurn
from backupsite.recovery.drill_samples import ask_sample
from backupsite.recovery.drills import ask_drill
from backupsite.recovery.models import RestorePoint
from backupsite.repositories.nodes import list_silent
from backupsite.runs import tick
from backupsite.runs.due import SCHEDULE
from backupsite.runs.models import Run
from backupsite.runs.requests import ACTIVE

log = logging.getLogger(__name__)

DAY = timedelta(days=1)
# How often a source has to be drilled. Where each of its points is, or is sampled, a day is the most that it
# may wait.
PERIODS = {DrillRule.EVERY: DAY, DrillRule.DAILY: DAY, DrillRule.WEEKLY: 7 * DAY, DrillRule.MONTHLY: 30 * DAY}
# What a rule asks for: whole drills (False) and samples (True).
ASKED = {
    False: Q(policy__is_enabled=True, policy__drill_rule__rhythm__in=PERIODS),
    True: Q(policy__is_enabled=True, policy__drill_rule__is_sampled=True),
}
KINDS = {False: Run.DRILL, True: Run.SAMPLE}
# Drills wait for each other: this much later than asked for is no news.
GRACE = DAY
# They work one after the other: more that wait would only be older when their turn comes.
MOST_WAITING = 10
BATCH = 500


def look(now: datetime) -> None:
    """A step of the tick: plan what rules ask for, start what is due, tell what is overdue."""
    if not DrillRule.objects.filter(Q(rhythm__in=PERIODS) | Q(is_sampled=True)).exists():
        return
    if now.second < tick.PACE_S:
        # Once a minute: what policies say changes seldom, and comparing it with every turn is much to read.
        plan(now)
    start_due(now)
    tell_overdue(now)


def plan(now: datetime) -> int:
    """Make the turns that are missing, remove those that no rule asks for. Return how many are new."""
    asked = PolicyDevice.objects.filter(policy=OuterRef("policy"), device=OuterRef("device"))
    source = Source.objects.filter(policy=OuterRef("policy"), key=OuterRef("source")).exclude(mode=MODE_OUT)
    DrillTurn.objects.exclude(Exists(asked)).delete()
    DrillTurn.objects.exclude(Exists(source)).delete()
    return sum(_plan(now, is_sample) for is_sample in ASKED)


def _plan(now: datetime, is_sample: bool) -> int:
    turns = DrillTurn.objects.filter(is_sample=is_sample)
    turns.exclude(ASKED[is_sample]).delete()
    known = turns.filter(policy=OuterRef("policy"), device=OuterRef("device"), source=OuterRef("key"))
    rows = PolicyDevice.objects.filter(ASKED[is_sample], policy__sources__isnull=False)
    rows = rows.annotate(key=F("policy__sources__key"), mode=F("policy__sources__mode"))
    missing = rows.exclude(mode=MODE_OUT).exclude(Exists(known)).values_list("policy", "device", "key")
    made = [
        DrillTurn(
            policy_id=policy, device_id=device, source=key, is_sample=is_sample, next_due=now, since=now
        )
        for policy, device, key in missing[:BATCH]
    ]
    DrillTurn.objects.bulk_create(made, ignore_conflicts=True)
    return len(made)


def _with_newest(is_sample: bool) -> Any:
    """Return the turns that have a restore point of their policy, with the newest of them."""
    points = RestorePoint.objects.filter(
        policy=OuterRef("policy"), device=OuterRef("device"), source=OuterRef("source"), resting_since=None
    )
    newest = points.order_by("-made_at", "part").values("pk")[:1]
    turns = DrillTurn.objects.filter(ASKED[is_sample], is_sample=is_sample)
    turns = turns.select_related("policy", "device", "policy__drill_rule__machine")
    return turns.annotate(newest=Subquery(newest)).filter(newest__isnull=False)


def start_due(now: datetime) -> int:
    """Ask for the drills and samples that are due, while few of each wait; return how many."""
    count, silent = 0, list_silent(now).values("pk")
    for is_sample, kind in KINDS.items():
        waiting = Run.objects.filter(kind=kind, state__in=ACTIVE).exclude(device__in=silent)
        room = max(MOST_WAITING - waiting.count(), 0)
        due = _with_newest(is_sample).filter(next_due__lte=now).exclude(device__in=silent)
        count += sum(_start(turn, now) for turn in due.order_by("next_due")[:room])
    return count


def _start(turn: Any, now: datetime) -> int:
    """Claim a turn and ask for its run in one transaction. Return 0 when somebody else did."""
    rule = turn.policy.drill_rule
    # After each backup it is due again: `note_backup`.
    is_each = turn.is_sample or rule.rhythm == DrillRule.EVERY
    upcoming = None if is_each else now + PERIODS[rule.rhythm]
    with transaction.atomic():
        if not DrillTurn.objects.filter(pk=turn.pk, next_due=turn.next_due).update(next_due=upcoming):
            return 0
        point = RestorePoint.objects.select_related("device", "policy").get(pk=turn.newest)
        if turn.is_sample:
            run = ask_sample(point, requested_by=SCHEDULE)
        else:
            run = ask_drill(point, rule.machine, requested_by=SCHEDULE)
    log.info("Run %d: a %s of %s of device %d.", run.number, run.kind, turn.source, turn.device_id)
    return 1


def note_backup(policy_id: int | None, device_id: int, sources: Collection[str], now: datetime) -> None:
    """Let the sources that a backup has just stored be due where each restore point is to be drilled. Call it
    in the transaction that stores the points. Runs one query."""
    turns = DrillTurn.objects.filter(policy=policy_id, device=device_id, source__in=sources)
    turns.filter(Q(is_sample=True) | Q(policy__drill_rule__rhythm=DrillRule.EVERY)).update(next_due=now)


def tell_overdue(now: datetime) -> int:
    """Write a notice for each source that was not drilled for too long, once until it is; return how many."""
    count = sum(_tell(turn, now) for turn in _late(_with_newest(True), PERIODS[DrillRule.EVERY], now))
    for rhythm, period in PERIODS.items():
        late = _late(_with_newest(False).filter(policy__drill_rule__rhythm=rhythm), period, now)
        count += sum(_tell(turn, now) for turn in late)
    return count


def _late(turns: Any, period: timedelta, now: datetime) -> Any:
    """Given turns, return those that nobody was told of and that should have come to a result. Where each
    restore point is meant and none is new, there is nothing to do."""
    last = turns.annotate(last=Coalesce("done_at", "since"))
    return last.filter(told_at=None, last__lt=now - period - GRACE).exclude(next_due=None)[:BATCH]


def _tell(turn: Any, now: datetime) -> int:
    rhythm = "every restore point" if turn.is_sample else turn.policy.drill_rule.get_rhythm_display().lower()
    what, done = ("sample", "sampled") if turn.is_sample else ("drill", "drilled")
    said = f"Its last {what} ended {turn.done_at:%Y-%m-%d %H:%M} UTC." if turn.done_at else "It never was."
    made = Drill.objects.filter(device=turn.device, source=turn.source, is_sample=turn.is_sample)
    newest = made.first()
    if newest is not None and newest.result == Drill.IMPOSSIBLE:
        said += f"\nThe newest could not be done: {newest.reason} {newest.remedy}"
    with transaction.atomic():
        claimed = DrillTurn.objects.filter(pk=turn.pk, told_at=None).update(told_at=now)
        if claimed:
            notices.tell(
                "drill-overdue",
                key=f"drill-overdue-{turn.pk}-{now:%Y%m%d%H%M%S}",
                title=f"{turn.device.name}: {'sample' if turn.is_sample else 'restore drill'} overdue",
                text=(
                    f"{name_source(turn.source)} should be {done} by the policy {turn.policy.name}: "
                    f"{rhythm}. {said}"
                ),
                url=reverse("device-drills", args=[turn.device.slug]),
            )
    return claimed
