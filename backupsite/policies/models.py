"""What is protected, how, and when."""

from __future__ import annotations

from datetime import time, timedelta

from django.db import models
from django.db.models.functions import Concat
from django.urls import reverse

from backupsite.fleet.models import Device, Tag
from backupsite.policies.windows import FAIL, LIVE, MODE_BOTH, MODE_COLD, MODE_HOT, MODE_OUT, WAIT
from backupsite.repositories.models import Storage


class Policy(models.Model):
    """Sources, schedule and target for the devices that it selects: by name, and by `tags` (any of them, or
    all with `needs_all_tags`); what the tags select joins and leaves by itself.

    The cold window is a second schedule, in the same time zone; `cold_rpo` is the target of what is only, or
    also, copied there. `spread_minutes` None: what the schedule proposes. `when_blocked` says what a run does
    when a blocked hour begins. `keep_*` are how many restore points stay, by the newest of each hour, day,
    week, month and year; nothing younger than `keep_min` is removed, everything older than `keep_max` may be.
    `rest` is how long a removed restore point can be had back. `copy_storage` is where second copies of its
    restore points go; there they stay for `copy_keep`, without it for as long as they are kept at all.
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
    FINISH, PAUSE, STOP = "finish", "pause", "stop"
    WHEN_BLOCKED = [
        (FINISH, "Finish the run"),
        (PAUSE, "Pause until the hours are over"),
        (STOP, "Stop, and keep what was sent"),
    ]
    FIRST, USUAL, LAST = 0, 1, 2
    PRIORITIES = [(FIRST, "Before others"), (USUAL, "As others"), (LAST, "After others")]
    COLD_SCHEDULES = [(DAILY, "Daily"), (WEEKLY, "Weekly"), (CRON, "Cron")]

    slug = models.SlugField(max_length=80, unique=True)
    name = models.CharField(max_length=64, unique=True)
    devices = models.ManyToManyField(Device, blank=True, related_name="policies", through="PolicyDevice")
    tags = models.ManyToManyField(Tag, blank=True, related_name="policies")
    needs_all_tags = models.BooleanField(default=False)
    is_enabled = models.BooleanField(default=True)
    priority = models.PositiveSmallIntegerField(choices=PRIORITIES, default=USUAL)
    schedule = models.CharField(max_length=8, choices=SCHEDULES, default=EVERY)
    every_minutes = models.PositiveIntegerField(default=60)
    at_time = models.TimeField(null=True, blank=True)
    weekday = models.PositiveSmallIntegerField(null=True, blank=True)  # 0 is Monday
    cron = models.CharField(max_length=120, blank=True)
    time_zone = models.CharField(max_length=64, default="UTC")
    spread_minutes = models.PositiveIntegerField(null=True, blank=True)
    when_blocked = models.CharField(max_length=8, choices=WHEN_BLOCKED, default=FINISH)
    rpo = models.DurationField(default=timedelta(hours=26))
    rto = models.DurationField(null=True, blank=True)
    keep_last = models.PositiveIntegerField(default=4)
    keep_hourly = models.PositiveIntegerField(default=24)
    keep_daily = models.PositiveIntegerField(default=14)
    keep_weekly = models.PositiveIntegerField(default=8)
    keep_monthly = models.PositiveIntegerField(default=12)
    keep_yearly = models.PositiveIntegerField(default=0)
    keep_min = models.DurationField(default=timedelta(days=2))
    keep_max = models.DurationField(null=True, blank=True)
    rest = models.DurationField(default=timedelta(days=7))
    copy_storage = models.ForeignKey(
        Storage, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    copy_keep = models.DurationField(null=True, blank=True)
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
    write-ahead log of PostgreSQL is followed all the time, for any moment between two backups. `is_optional`:
    a device may lack it, and stands well without it. Up to `accepted_problems` files that could not be read
    are no warning. `is_shared`: it belongs to a service that runs on one of the policy's devices and may
    move: what any of them stored counts for all, and who does not have it leaves it out.
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
    is_optional = models.BooleanField(default=False)
    is_shared = models.BooleanField(default=False)
    accepted_problems = models.PositiveIntegerField(default=0)
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
    not in it. The fields with "cold" say the same of the cold window. `is_by_name` False: its tags brought
    it in.
    """

    policy = models.ForeignKey(Policy, on_delete=models.CASCADE, related_name="assignments")
    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="assignments")
    is_by_name = models.BooleanField(default=True)
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


class BlockedHours(models.Model):
    """Hours in which no run of a policy starts, in its time zone: from `begins` to `ends` on the days of
    `weekdays` ("0" is Monday; "0123456" all); over midnight when `ends` is not later."""

    policy = models.ForeignKey(Policy, on_delete=models.CASCADE, related_name="blocked_hours")
    weekdays = models.CharField(max_length=7, default="0123456")
    begins = models.TimeField()
    ends = models.TimeField()

    class Meta:
        ordering = ["weekdays", "begins"]


class Override(models.Model):
    """One value of a policy that is another one for one device. `field` is a name of `effective.VALUES`,
    `value` as the policy's YAML file writes it."""

    assignment = models.ForeignKey(PolicyDevice, on_delete=models.CASCADE, related_name="overrides")
    field = models.CharField(max_length=32)
    value = models.JSONField()
    made_by = models.CharField(max_length=64)
    made_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["field"]
        constraints = [
            models.UniqueConstraint(fields=["assignment", "field"], name="policies_override_once"),
        ]


class Pause(models.Model):
    """Until `until` no run is started by a schedule: of one device, of one policy, of the fleet when it names
    neither. It always ends; `ended_at` when a person ended it before."""

    device = models.ForeignKey(Device, null=True, blank=True, on_delete=models.CASCADE, related_name="pauses")
    policy = models.ForeignKey(Policy, null=True, blank=True, on_delete=models.CASCADE, related_name="pauses")
    until = models.DateTimeField(db_index=True)
    reason = models.CharField(max_length=200, blank=True)
    made_by = models.CharField(max_length=64)
    made_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_by = models.CharField(max_length=64, blank=True)

    class Meta:
        ordering = ["-made_at"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(device=None) | models.Q(policy=None), name="policies_pause_of_one"
            ),
        ]
