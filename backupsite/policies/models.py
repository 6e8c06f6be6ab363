"""What is protected, how, and when."""

from __future__ import annotations

from datetime import time, timedelta

from django.db import models
from django.db.models.functions import Concat
from django.urls import reverse

from backupsite.fleet.models import Device
from backupsite.policies.windows import FAIL, LIVE, MODE_BOTH, MODE_COLD, MODE_HOT, MODE_OUT, WAIT


class Policy(models.Model):
    """Sources, schedule and target for the devices that it selects.

    The cold window is a second schedule, in the same time zone; `cold_rpo` is the target of what is only, or
    also, copied there.
    """

    MANUAL, EVERY, DAILY, WEEKLY, CRON = "manual", "every", "daily", "weekly", "cron"
    SCHEDULES = [
        (EVERY, "Every so often"),
        (DAILY, "Daily"),
        (WEEKLY, "Weekly"),
        (CRON, "Cron"),
        (MANUAL, "Only by hand"),
    ]
    GENTLE, BALANCED, FAST = "gentle", "balanced", "fast"
    IMPACTS = [(GENTLE, "Gentle"), (BALANCED, "Balanced"), (FAST, "As fast as it goes")]
    COLD_SCHEDULES = [(DAILY, "Daily"), (WEEKLY, "Weekly"), (CRON, "Cron")]

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
    impact = models.CharField(max_length=8, choices=IMPACTS, default=GENTLE)
    upload_mb_s = models.PositiveIntegerField(null=True, blank=True)  # None: as much as the line takes
    cold_is_enabled = models.BooleanField(default=False)
    cold_schedule = models.CharField(max_length=8, choices=COLD_SCHEDULES, default=WEEKLY)
    cold_at_time = models.TimeField(null=True, blank=True, default=time(3))
    cold_weekday = models.PositiveSmallIntegerField(null=True, blank=True, default=6)
    cold_cron = models.CharField(max_length=120, blank=True)
    cold_rpo = models.DurationField(default=timedelta(days=8))
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
    """What a policy says about one piece of data: files at `path`, or an `instance` of an `application`.

    `key` is how restore points name it ("/etc", "postgresql:15/main"). `excludes` holds one restic exclude
    pattern a line, `services` one name a line. `method` "" is the best one. `command` is the line of the
    application "command". A source that is left out is in no run, but it is decided about. `keeps_log`: the
    write-ahead log of PostgreSQL is followed all the time, for any moment between two backups.
    """

    HOT, COLD, BOTH, OUT = MODE_HOT, MODE_COLD, MODE_BOTH, MODE_OUT
    MODES = [(HOT, "Hot"), (COLD, "Cold"), (BOTH, "Hot and cold"), (OUT, "Leave out")]
    FAIL, LIVE, WAIT = FAIL, LIVE, WAIT
    FALLBACKS = [
        (FAIL, "Fail and tell me"),
        (LIVE, "Take a crash-consistent copy or live files, labelled so"),
        (WAIT, "Wait for the cold window"),
    ]

    policy = models.ForeignKey(Policy, on_delete=models.CASCADE, related_name="sources")
    path = models.CharField(max_length=4096, blank=True)
    application = models.CharField(max_length=32, blank=True)
    instance = models.CharField(max_length=255, blank=True)
    key = models.GeneratedField(
        expression=models.Case(
            models.When(application="", then=models.F("path")),
            default=Concat("application", models.Value(":"), "instance"),
        ),
        output_field=models.CharField(max_length=4096),
        db_persist=True,
    )
    excludes = models.TextField(blank=True)
    method = models.CharField(max_length=32, blank=True)
    command = models.TextField(blank=True)
    services = models.TextField(blank=True)
    mode = models.CharField(max_length=8, choices=MODES, default=HOT)
    if_hot_impossible = models.CharField(max_length=16, choices=FALLBACKS, default=LIVE)
    keeps_log = models.BooleanField(default=False)
    group = models.CharField(max_length=64, blank=True)
    longest_freeze_ms = models.PositiveIntegerField(default=10_000)
    longest_downtime_s = models.PositiveIntegerField(default=120)

    class Meta:
        ordering = ["key"]
        constraints = [
            models.UniqueConstraint(fields=["policy", "key"], name="policies_source_once"),
        ]

    def __str__(self) -> str:
        return f"{self.application}:{self.instance}" if self.application else self.path


class PolicyDevice(models.Model):
    """A device under a policy, and when it is next due (claimed by a conditional UPDATE in `runs/due`).

    `succeeded_at` is when the newest good backup by the policy's own schedule started: what changed later is
    not in it. The fields with "cold" say the same of the cold window.
    """

    policy = models.ForeignKey(Policy, on_delete=models.CASCADE, related_name="assignments")
    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="assignments")
    next_due = models.DateTimeField(null=True, blank=True, db_index=True)
    overdue_told_at = models.DateTimeField(null=True, blank=True)
    assigned_at = models.DateTimeField(auto_now_add=True)
    succeeded_at = models.DateTimeField(null=True, blank=True)
    next_cold_due = models.DateTimeField(null=True, blank=True, db_index=True)
    cold_overdue_told_at = models.DateTimeField(null=True, blank=True)
    cold_succeeded_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["policy", "device"], name="policies_device_once"),
        ]
