"""What a drill found is written down, in the transaction that closes its run."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from datetime import timedelta

from django.db.models import Q, QuerySet
from django.utils import timezone

from agents.drilling.evidence import Evidence
from agents.errors import PlanRefused
from backupsite.alerts import notices
from backupsite.policies.effective import on_device
from backupsite.policies.models import Policy
from backupsite.policies.naming import name_source
from backupsite.recovery.drill_machines import machine_of
from backupsite.recovery.drill_models import Drill, DrillRule, DrillTurn
from backupsite.recovery.folders import encode_path
from backupsite.recovery.models import RestorePoint
from backupsite.recovery.origins import COPY
from backupsite.recovery.stored import lock, restate
from backupsite.runs.models import Run
from backupsite.runs.texts import make_storable

# More than any trial has: what a device made up must not fill the database.
MOST_CHECKS, MOST_HASHES, MOST_NOTES = 200, 100, 20
# Samples of every restore point are many; what one of them says is told by the state of its point.
SAMPLES_KEPT = timedelta(days=7)
# Somebody may have installed by then what was missing.
TRY_AGAIN = timedelta(days=1)


def keep_evidence(
    run: Run, points: Sequence[RestorePoint], evidence: Evidence, notes: Sequence[str] = ()
) -> None:
    """Write down what a drill found, mark its points, and tell people when they are not good. One that read
    the second copy proves nothing of the first, and refutes nothing of it."""
    lock({point.device_id for point in points})
    drill = _make(run, points)
    drill.result = Drill.PASSED if evidence.is_passed else Drill.FAILED
    drill.checks = [
        [make_storable(check.name, 200), check.is_passed, make_storable(check.said), round(check.seconds, 3)]
        for check in evidence.checks[:MOST_CHECKS]
    ]
    drill.hashes = [
        [encode_path(each.path), each.size, each.sha256] for each in evidence.hashes[:MOST_HASHES]
    ]
    drill.notes = [make_storable(note) for note in (*notes, *evidence.notes)[:MOST_NOTES]]
    drill.files, drill.bytes = evidence.files, evidence.bytes
    drill.restore_s, drill.start_s, drill.total_s = evidence.restore_s, evidence.start_s, evidence.total_s
    _save(drill, points)
    if not _is_of_copy(run):
        _mark(drill, RestorePoint.objects.filter(pk__in=[point.pk for point in points]))
        restate({point.device_id for point in points})  # what failed its drill keeps nobody within the target
        _turns_of(drill).update(done_at=drill.at, told_at=None)
    if not evidence.is_passed:
        _tell(drill, evidence, is_of_copy=_is_of_copy(run))


def _is_of_copy(run: Run) -> bool:
    return bool(run.request.get("from") == COPY)


def _mark(drill: Drill, points: QuerySet[RestorePoint]) -> None:
    """Say on the points what was proved. A sample that passed proves less than any drill did before it."""
    if drill.result == Drill.FAILED:
        points.update(drill_state=RestorePoint.REFUTED, verified_at=drill.at)
    elif not drill.is_sample:
        points.update(drill_state=RestorePoint.PROVEN, verified_at=drill.at)
    else:
        points.filter(drill_state=RestorePoint.NOT_DRILLED).update(drill_state=RestorePoint.SAMPLED)
        old = Drill.objects.filter(
            device=drill.device_id, source=drill.source, at__lt=drill.at - SAMPLES_KEPT
        )
        old.filter(is_sample=True, result=Drill.PASSED).delete()


def keep_impossible(run: Run, points: Sequence[RestorePoint], reason: str, remedy: str) -> None:
    """Write down that a drill could not be done. The points are neither proven nor refuted by that."""
    drill = _make(run, points)
    drill.result = Drill.IMPOSSIBLE
    drill.reason, drill.remedy = make_storable(reason), make_storable(remedy)
    _save(drill, points)
    later = drill.at + TRY_AGAIN
    _turns_of(drill).filter(Q(next_due=None) | Q(next_due__gt=later)).update(next_due=later)


def _turns_of(drill: Drill) -> QuerySet[DrillTurn]:
    found = DrillTurn.objects.filter(policy=drill.policy_id, device=drill.device_id, source=drill.source)
    return found.filter(is_sample=drill.is_sample)


def _make(run: Run, points: Sequence[RestorePoint]) -> Drill:
    point = points[0]
    rule = DrillRule.objects.filter(policy=point.policy_id).first()
    is_sample = run.kind == Run.SAMPLE
    return Drill(
        run=run,
        device=point.device,
        policy=point.policy,
        source=point.source,
        made_at=point.made_at,
        at=timezone.now(),
        is_sample=is_sample,
        machine="" if is_sample else _name_machine(run),
        rto=None if is_sample else _target_of(rule, on_device(point.policy, point.device)),
    )


def _target_of(rule: DrillRule | None, policy: Policy | None) -> timedelta | None:
    """The rule's own target, or else the policy's."""
    own = rule.rto if rule is not None else None
    return own if own is not None or policy is None else policy.rto


def _name_machine(run: Run) -> str:
    try:
        device = machine_of(run)
    except PlanRefused:
        return ""  # it is gone, which is why it could not be done
    return (device.name if device is not None else socket.gethostname())[:64]


def _save(drill: Drill, points: Sequence[RestorePoint]) -> None:
    drill.save()
    # Retention may have removed some of them while they were drilled.
    drill.points.set(RestorePoint.objects.filter(pk__in=[point.pk for point in points]))


def _tell(drill: Drill, evidence: Evidence, *, is_of_copy: bool) -> None:
    """Write the notice of a drill that failed."""
    said = "\n".join(f"{check.name}: {check.said[:600]}" for check in evidence.failures[:5])
    done = "looked into and is not whole" if drill.is_sample else "restored and did not pass"
    what = f"{name_source(drill.source)} made {drill.made_at:%Y-%m-%d %H:%M} UTC was {done}."
    if is_of_copy:
        text = f"The second copy of {what} Do not rely on that copy; the first one was not read.\n{said}"
    else:
        text = f"The restore point of {what} Do not rely on it.\n{said}"
    notices.tell_or_log(
        "drill-failed",
        key=f"drill-{drill.pk}",
        title=f"{drill.device.name}: a {'sample' if drill.is_sample else 'restore drill'} failed",
        text=text,
        url=drill.get_absolute_url(),
    )
