"""Drills and their rules."""

from __future__ import annotations

from django.utils import timezone

from backupsite.fleet.models import Device
from backupsite.policies.models import Policy
from backupsite.recovery import drill_due
from backupsite.recovery.drill_machines import usual_machine
from backupsite.recovery.drill_models import DrillQuestion, DrillRule
from backupsite.recovery.drills import ask_drill
from backupsite.recovery.models import RestorePoint
from tests.live.desking.fleet import ME


def ask_to_drill(point: str) -> int:
    """Ask for a drill as the button of a restore point does. Return its run's number."""
    found = RestorePoint.objects.get(pk=point)
    return ask_drill(found, usual_machine(found), requested_by=ME.name).number


def ask_in_drills(device: str, text: str, value: str, database: str = "") -> None:
    """Have the drills of a device's only source ask for more than a value."""
    policy = Policy.objects.get(assignments__device__slug=device)
    source = policy.sources.get()
    DrillQuestion.objects.create(
        policy=policy, source=source.key, text=text, comparison=">", value=value, database=database
    )


def drill_on(device: str, machine: str) -> None:
    """Have the restore points of a device drilled on another one, as the page of its policy's rule does."""
    policy = Policy.objects.get(assignments__device__slug=device)
    DrillRule.objects.create(policy=policy, machine=Device.objects.get(slug=machine))


def sample_every_point(device: str) -> None:
    """Have each restore point of a device sampled, as the page of its policy's rule and the tick do."""
    policy = Policy.objects.get(assignments__device__slug=device)
    DrillRule.objects.create(policy=policy, is_sampled=True)
    drill_due.plan(timezone.now())


def drill_every_point(device: str) -> None:
    """Have each restore point of a device drilled, as the page of its policy's rule and the tick do."""
    policy = Policy.objects.get(assignments__device__slug=device)
    DrillRule.objects.create(policy=policy, rhythm=DrillRule.EVERY)
    drill_due.plan(timezone.now())
