"""Runs, and the time that tests cannot wait for."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from backupsite.fleet.models import Device
from backupsite.policies.models import BlockedHours, Policy, PolicyDevice
from backupsite.runs import requests
from backupsite.runs.models import Run
from tests.live.desking.fleet import ME


def ask(kind: str, device: str) -> int:
    """Ask for a run as the buttons of the device page do. Return its number."""
    found = Device.objects.get(slug=device)
    policy = Policy.objects.get(assignments__device=found) if kind == Run.BACKUP else None
    return requests.request_run(kind, found, policy=policy, request={}, requested_by=ME.name).number


def cancel(number: int) -> bool:
    return requests.cancel_run(Run.objects.get(number=number), by=ME.name)


def make_due(device: str) -> None:
    """Let the scheduled time of a device be a minute ago."""
    PolicyDevice.objects.filter(device__slug=device).update(next_due=timezone.now() - timedelta(minutes=1))


def make_both_due(device: str) -> None:
    """Let the scheduled time and the cold window of a device both be a minute ago."""
    past = timezone.now() - timedelta(minutes=1)
    PolicyDevice.objects.filter(device__slug=device).update(next_due=past, next_cold_due=past)


def block_hours(device: str, after_s: int, lasts_s: int) -> None:
    """Block hours of a device's policy that begin so many seconds from now, whatever it has to do then."""
    policy = Policy.objects.get(assignments__device__slug=device)
    begins = timezone.now() + timedelta(seconds=after_s)
    ends = begins + timedelta(seconds=lasts_s)
    BlockedHours.objects.create(policy=policy, begins=begins.time(), ends=ends.time())


def grow_old(device: str) -> None:
    """Let the newest good backup of a device be a month old."""
    PolicyDevice.objects.filter(device__slug=device).update(succeeded_at=timezone.now() - timedelta(days=30))


def hurry(number: int) -> None:
    """Let the time of a waiting run have come."""
    Run.objects.filter(number=number).update(not_before=timezone.now())
