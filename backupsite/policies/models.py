"""What is protected, how, and when."""

from __future__ import annotations

from datetime import timedelta

from django.db import models
from django.urls import reverse

from backupsite.fleet.models import Device


class Policy(models.Model):
    """Sources, schedule and target for the devices that it selects."""

    MANUAL, EVERY, DAILY, WEEKLY, CRON = "manual", "every", "daily", "weekly", "cron"
    SCHEDULES = [
        (EVERY, "Every so often"),
        (DAILY, "Daily"),
        (WEEKLY, "Weekly"),
        (CRON, "Cron"),
        (MANUAL, "Only by hand"),
    ]

    slug = models.SlugField(max_length=80, unique=True)
    name = models.CharField(max_length=64, unique=True)
    devices = models.ManyToManyField(Device, blank=True, related_name="policies", through="PolicyDevice")
    is_enabled = models.BooleanField(default=True)
    schedule = models.CharField(max_length=8, choices=SCHEDULES, default=EVERY)
    every_minutes = models.PositiveIntegerField(default=60)
    at_time = models.TimeField(null=True, blank=True)
    weekday = models.PositiveSmallIntegerField(null=True, blank=True)  # 0 is Monday
    cron = models.CharField(max_length=120, blank=True)
    time_zone = models.CharField(max_length=64, default="UTC")
    rpo = models.DurationField(default=timedelta(hours=26))
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["name"]
        verbose_name_plural = "policies"

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("policy", args=[self.slug])


class Source(models.Model):
    """One path of a policy. `excludes` holds one restic exclude pattern a line."""

    HOT = "hot"
    MODES = [(HOT, "Hot")]
    FAIL, LIVE = "fail", "accept-live"
    FALLBACKS = [(FAIL, "Fail and tell me"), (LIVE, "Copy the live files, labelled so")]

    policy = models.ForeignKey(Policy, on_delete=models.CASCADE, related_name="sources")
    path = models.CharField(max_length=4096)
    excludes = models.TextField(blank=True)
    mode = models.CharField(max_length=8, choices=MODES, default=HOT)
    if_hot_impossible = models.CharField(max_length=16, choices=FALLBACKS, default=LIVE)

    class Meta:
        ordering = ["path"]
        constraints = [
            models.UniqueConstraint(fields=["policy", "path"], name="policies_source_once"),
        ]

    def __str__(self) -> str:
        return self.path


class PolicyDevice(models.Model):
    """A device under a policy, and when it is next due (claimed by a conditional UPDATE in `runs/due`).

    `succeeded_at` is when the newest good backup started: what changed later is not in it.
    """

    policy = models.ForeignKey(Policy, on_delete=models.CASCADE, related_name="assignments")
    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="assignments")
    next_due = models.DateTimeField(null=True, blank=True, db_index=True)
    overdue_told_at = models.DateTimeField(null=True, blank=True)
    assigned_at = models.DateTimeField(auto_now_add=True)
    succeeded_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["policy", "device"], name="policies_device_once"),
        ]
