"""What is left to do until backups can be trusted. Shown on the fleet page until all of it is done."""

from __future__ import annotations

from dataclasses import dataclass

from django.urls import reverse

from backupsite.alerts.models import Target
from backupsite.fleet.models import Device
from backupsite.policies.models import PolicyDevice
from backupsite.recovery.models import RestorePoint
from backupsite.repositories.models import RecoveryPassword
from backupsite.runs.models import Run
from backupsite.runs.states import State
from backupsite.web.navigation import find_url


@dataclass(frozen=True)
class Step:
    title: str
    text: str
    is_done: bool
    url: str
    action: str


def make_checklist() -> list[Step]:
    """Return the steps in order; empty once every one is done. Runs one query a step."""
    restored = Run.objects.filter(kind=Run.RESTORE, state__in=(State.SUCCEEDED, State.WARNINGS))
    device = Device.objects.order_by("pk").first()
    steps = [
        Step(
            "Recovery kit kept elsewhere",
            "Without it nobody opens the repositories when this machine is gone.",
            RecoveryPassword.objects.filter(kit_confirmed_at__isnull=False).exists(),
            find_url("setup-kit") or "",
            "Get the kit",
        ),
        Step(
            "First device connected",
            "Add a server and let the console reach it.",
            Device.objects.filter(reached_at__isnull=False).exists(),
            reverse("device-connect", args=[device.slug]) if device else reverse("device-new"),
            "Connect" if device else "Add a device",
        ),
        Step(
            "A policy protects it",
            "Say what is backed up and how often.",
            PolicyDevice.objects.filter(policy__sources__isnull=False).exists(),
            reverse("policy-new"),
            "Write a policy",
        ),
        Step(
            "First restore point",
            "Press “Back up now” on the device.",
            RestorePoint.objects.exists(),
            device.get_absolute_url() if device else "",
            "Open the device",
        ),
        Step(
            "Somebody is told",
            "A failed or overdue backup sends a notice: by mail, chat or webhook.",
            Target.objects.filter(is_enabled=True).exists(),
            reverse("settings-notify"),
            "Add a target",
        ),
        Step(
            "A restore was tried",
            "A backup is proven by a restore: put some files into a scratch folder.",
            restored.exists(),
            find_url("points") or "",
            "Try a restore",
        ),
    ]
    return [] if all(step.is_done for step in steps) else steps
