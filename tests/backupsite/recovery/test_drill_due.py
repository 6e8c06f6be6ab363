"""Drills that rules ask for: planned, claimed once, told when overdue; and the page of the rules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from agents.applications.trials import Question
from agents.drilling.evidence import Check, Evidence
from agents.errors import PlanRefused
from backupsite.accounts.models import AuditEvent
from backupsite.alerts.models import Notice
from backupsite.policies.models import Policy, PolicyDevice, Source
from backupsite.recovery import drill_due
from backupsite.recovery.drill_keeping import keep_evidence, keep_impossible
from backupsite.recovery.drill_machines import machine_of
from backupsite.recovery.drill_models import Drill, DrillQuestion, DrillRule, DrillTurn
from backupsite.recovery.drills import points_of, questions_of, stored_of
from backupsite.recovery.folders import encode_path
from backupsite.recovery.models import RestorePoint
from backupsite.runs import lease
from backupsite.runs.models import Run
from backupsite.runs.states import State
from tests.backupsite.making import make_device, make_point, make_policy, make_run

NOW = datetime(2026, 11, 22, 12, 0, 3, tzinfo=UTC)
DAY = timedelta(days=1)
PROVEN = Evidence((Check("restore", True, "", 1.0),), 1, 1, 1.0, 0.0, 1.0)


@pytest.fixture
def policy(db: None) -> Policy:
    policy = make_policy(make_device())
    DrillRule.objects.create(policy=policy, rhythm=DrillRule.WEEKLY)
    return policy


@pytest.fixture
def point(policy: Policy) -> RestorePoint:
    return make_point(policy.devices.get(), policy, NOW - timedelta(hours=1))


def drill_all(now: datetime) -> int:
    """Let every drill that waits come to a good result."""
    runs = list(Run.objects.filter(kind=Run.DRILL, state=State.QUEUED))
    for run in runs:
        keep_evidence(run, points_of(run), PROVEN)
        DrillTurn.objects.filter(device=run.device).update(done_at=now)
        Run.objects.filter(pk=run.pk).update(state=State.SUCCEEDED)
    return len(runs)


def test_a_rule_drills_at_once_and_then_in_its_rhythm(point: RestorePoint) -> None:
    drill_due.look(NOW)
    run = Run.objects.get(kind=Run.DRILL)
    assert (run.requested_by, run.policy) == ("schedule", point.policy)
    assert run.request == {"points": [str(point.pk)]}
    drill_due.look(NOW)
    assert drill_all(NOW) == 1
    drill_due.look(NOW + 6 * DAY)
    assert drill_all(NOW) == 0
    drill_due.look(NOW + 7 * DAY)
    assert drill_all(NOW) == 1


def test_a_turn_is_claimed_once(point: RestorePoint) -> None:
    drill_due.plan(NOW)
    (first,) = drill_due._with_newest(is_sample=False)
    (second,) = drill_due._with_newest(is_sample=False)
    assert [drill_due._start(turn, NOW) for turn in (first, second)] == [1, 0]
    assert Run.objects.filter(kind=Run.DRILL).count() == 1


def test_nothing_is_drilled_without_a_rule_a_point_or_an_enabled_policy(policy: Policy) -> None:
    drill_due.look(NOW)
    assert DrillTurn.objects.count() == 1
    assert not Run.objects.exists(), "there is no restore point"
    make_point(policy.devices.get(), policy, NOW)
    Policy.objects.update(is_enabled=False)
    drill_due.look(NOW)
    assert not Run.objects.exists()
    Policy.objects.update(is_enabled=True)
    DrillRule.objects.update(rhythm=DrillRule.NEVER)
    drill_due.look(NOW)
    assert not Run.objects.exists()


@pytest.mark.parametrize("change", ["rule", "device", "source", "left out"])
def test_turns_that_nobody_asks_for_go(point: RestorePoint, change: str) -> None:
    drill_due.plan(NOW)
    assert DrillTurn.objects.count() == 1
    match change:
        case "rule":
            DrillRule.objects.update(rhythm=DrillRule.NEVER)
        case "device":
            PolicyDevice.objects.all().delete()
        case "source":
            Source.objects.all().delete()
        case "left out":
            Source.objects.update(mode=Source.OUT)
    drill_due.plan(NOW)
    assert not DrillTurn.objects.exists()


def test_every_point_is_drilled_after_its_backup(point: RestorePoint) -> None:
    DrillRule.objects.update(rhythm=DrillRule.EVERY)
    drill_due.look(NOW)
    assert drill_all(NOW) == 1
    drill_due.look(NOW + 30 * DAY)
    assert drill_all(NOW) == 0, "nothing new was made"
    newer = make_point(point.device, point.policy, NOW + 30 * DAY)
    drill_due.note_backup(point.policy_id, point.device_id, {"/srv"}, NOW + 30 * DAY)
    drill_due.look(NOW + 30 * DAY)
    assert Run.objects.filter(state=State.QUEUED).get().request == {"points": [str(newer.pk)]}


def test_every_point_is_sampled_beside_the_whole_drills(point: RestorePoint) -> None:
    DrillRule.objects.update(is_sampled=True)
    drill_due.look(NOW)
    sample = Run.objects.get(kind=Run.SAMPLE)
    assert (sample.requested_by, sample.request) == ("schedule", {"points": [str(point.pk)]})
    assert Run.objects.filter(kind=Run.DRILL).count() == 1, "the week's whole drill"
    keep_evidence(sample, [point], PROVEN)
    Run.objects.update(state=State.SUCCEEDED)
    turns = {turn.is_sample: turn.done_at for turn in DrillTurn.objects.all()}
    assert turns[True] is not None
    assert turns[False] is None, "a sample is no drill"
    newer = make_point(point.device, point.policy, NOW + DAY)
    drill_due.look(NOW + DAY)
    assert not Run.objects.filter(state=State.QUEUED).exists(), "nobody said that there is a new one"
    drill_due.note_backup(point.policy_id, point.device_id, {"/srv"}, NOW + DAY)
    drill_due.look(NOW + DAY)
    again = Run.objects.get(state=State.QUEUED)
    assert (again.kind, again.request) == (Run.SAMPLE, {"points": [str(newer.pk)]})
    Notice.objects.all().delete()
    Run.objects.update(state=State.FAILED)
    keep_impossible(again, [newer], "the storage is not there", "Mount it.")
    DrillTurn.objects.update(next_due=NOW + 31 * DAY, done_at=NOW)
    drill_due.look(NOW + 30 * DAY)
    titles = sorted(Notice.objects.values_list("title", flat=True))
    assert titles == ["db-01: restore drill overdue", "db-01: sample overdue"]
    assert "the storage is not there" in Notice.objects.get(title__endswith="sample overdue").text
    DrillRule.objects.update(is_sampled=False)
    drill_due.plan(NOW + 30 * DAY)
    assert [turn.is_sample for turn in DrillTurn.objects.all()] == [False]


def test_samples_without_a_rhythm_of_drills(point: RestorePoint) -> None:
    DrillRule.objects.update(is_sampled=True, rhythm=DrillRule.NEVER)
    drill_due.look(NOW)
    assert [run.kind for run in Run.objects.all()] == [Run.SAMPLE]


def test_a_rule_names_the_machine(operator: Client, point: RestorePoint) -> None:
    address = reverse("policy-drills", args=["hourly"])
    machine = make_device("drill-box")
    wrong = operator.post(address, {"rhythm": "daily", "machine": "nobody"})
    assert wrong.status_code == 422
    assert "There is no device of this name." in wrong.content.decode()
    answer = operator.post(address, {"rhythm": "daily", "machine": "drill-box", "is_sampled": "on"})
    assert answer.status_code == 302
    rule = DrillRule.objects.get()
    assert (rule.machine, rule.is_sampled) == (machine, True)
    text = operator.get(address).content.decode()
    assert 'value="drill-box"' in text
    assert "a key that reads every restore point" in text
    drill_due.look(NOW)
    run = Run.objects.get(kind=Run.DRILL)
    assert machine_of(run) == machine
    keep_evidence(run, [point], PROVEN)
    assert Drill.objects.get().machine == "drill-box"
    machine.delete()
    with pytest.raises(PlanRefused, match="is gone"):
        machine_of(run)


def test_few_wait_at_a_time(policy: Policy) -> None:
    for number in range(drill_due.MOST_WAITING + 3):
        device = make_device(f"web-{number}")
        PolicyDevice.objects.create(policy=policy, device=device)
        make_point(device, policy, NOW)
    drill_due.look(NOW)
    assert drill_all(NOW) == drill_due.MOST_WAITING
    drill_due.look(NOW + timedelta(minutes=1))
    assert drill_all(NOW) == 3


def test_what_is_overdue_is_told_once_with_the_reason(point: RestorePoint) -> None:
    drill_due.look(NOW)
    run = Run.objects.get()
    keep_impossible(run, [point], "bwrap is missing", "Install bubblewrap.")
    Run.objects.update(state=State.FAILED)
    turn = DrillTurn.objects.get()
    assert turn.next_due is not None
    assert turn.next_due - timezone.now() < DAY, "it is tried again before its week is over"
    DrillTurn.objects.update(next_due=NOW + 8 * DAY + timedelta(minutes=1))
    drill_due.look(NOW + 8 * DAY)
    assert not Notice.objects.exists()
    drill_due.look(NOW + 8 * DAY + timedelta(minutes=1))
    drill_due.look(NOW + 9 * DAY)
    notice = Notice.objects.get()
    assert (notice.kind, notice.title) == ("drill-overdue", "db-01: restore drill overdue")
    assert "bwrap is missing Install bubblewrap." in notice.text
    assert drill_all(NOW + 9 * DAY) == 1
    drill_due.look(NOW + 10 * DAY)
    assert Notice.objects.count() == 1


def test_one_drill_works_at_a_time_and_a_second_one_waits(point: RestorePoint) -> None:
    runs = [make_run(device, State.QUEUED, Run.DRILL) for device in (point.device, make_device("web-01"))]
    assert lease.take(runs[0].pk) is not None
    assert lease.take(runs[1].pk) is None
    runs[1].refresh_from_db()
    assert runs[1].state == State.QUEUED
    assert runs[1].not_before is None, "it is not put back: nothing is asked again and again"
    with pytest.raises(IntegrityError), transaction.atomic():
        Run.objects.filter(pk=runs[1].pk).update(state=State.RUNNING)
    backup = make_run(point.device, State.QUEUED)
    assert lease.take(backup.pk) is not None, "a backup of the device goes on beside it"


def test_points_become_what_the_flow_reads(point: RestorePoint) -> None:
    fields = {"source": "postgresql:15/main", "method": "stream"}
    at = NOW + DAY
    points = [
        make_point(point.device, point.policy, at, part=part, paths=[encode_path(f"/{part}")], **fields)
        for part in ("base.tar", "wal")
    ]
    stored = stored_of(points)
    assert (stored.application, stored.instance, stored.way) == ("postgresql", "15/main", "stream")
    assert [(each.part, each.paths) for each in stored.parts] == [
        ("base.tar", ("/base.tar",)),
        ("wal", ("/wal",)),
    ]
    files = stored_of([point])
    assert (files.application, files.instance, files.paths) == ("", "", ("/srv",))


def test_the_rule_is_saved_and_questions_are_asked(
    operator: Client, stranger: Client, policy: Policy
) -> None:
    Source.objects.create(policy=policy, application="postgresql", instance="15/main")
    address = reverse("policy-drills", args=[policy.slug])
    asked = {"source": "postgresql:15/main", "text": "select count(*) from orders", "comparison": ">"}
    wrong = operator.post(address, {"rhythm": "daily", "rto": "soon", **asked, "value": ""})
    assert wrong.status_code == 422
    assert "select count(*) from orders" in wrong.content.decode()
    assert not DrillQuestion.objects.exists()
    assert operator.post(address, {"rhythm": "daily", "rto": "4 h", **asked, "value": "0"}).status_code == 302
    rule = DrillRule.objects.get()
    assert (rule.rhythm, rule.rto) == ("daily", timedelta(hours=4))
    point = make_point(policy.devices.get(), policy, timezone.now(), source="postgresql:15/main")
    assert questions_of(point) == (Question("select count(*) from orders", ">", "0"),)
    text = operator.get(address).content.decode()
    assert "PostgreSQL 15/main: the answer is more than <strong>0</strong>" in text
    assert operator.post(address, {"remove": str(DrillQuestion.objects.get().pk)}).status_code == 302
    assert not DrillQuestion.objects.exists()
    assert operator.post(address, {"remove": "x"}).status_code == 302
    assert AuditEvent.objects.filter(verb="policy.drills").count() == 2
    assert stranger.get(address).status_code == 302
    assert stranger.post(address, {"rhythm": "never"}).status_code == 302
