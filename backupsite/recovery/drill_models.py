"""What drills wrote down, and by which rules they are due."""

from __future__ import annotations

from django.db import models
from django.urls import reverse

from backupsite.fleet.models import Device
from backupsite.policies.models import Policy
from backupsite.recovery.models import RestorePoint
from backupsite.runs.models import Run


class DrillQuerySet(models.QuerySet["Drill"]):
    def telling(self) -> DrillQuerySet:
        """Leave out samples that passed: they are many, and say less than a drill."""
        return self.exclude(is_sample=True, result=Drill.PASSED)

    def whole(self) -> DrillQuerySet:
        """Return the drills that came to a result, and no sample."""
        return self.filter(is_sample=False, result__in=(Drill.PASSED, Drill.FAILED))


class Drill(models.Model):
    """What one drill found: the evidence. Written in the transaction that closes its run, never changed.

    `points` are those of one source and one backup, made at `made_at`; they may be gone since. `is_sample`:
    they were looked into, and nothing was restored. IMPOSSIBLE: it could not be done, for `reason`, and says
    nothing about the data. `machine` is where they lay restored, "" for a sample.
    `checks` is a list of [name, is_passed, said, seconds], `hashes` of [path as in `recovery.folders`, size,
    SHA-256]. `rto` is the target that the policy had then.
    """

    PASSED, FAILED, IMPOSSIBLE = "passed", "failed", "impossible"
    RESULTS = [(PASSED, "Passed"), (FAILED, "Failed"), (IMPOSSIBLE, "Could not be done")]

    run = models.OneToOneField(Run, null=True, on_delete=models.SET_NULL, related_name="drill")
    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="drills", db_index=False)
    policy = models.ForeignKey(Policy, null=True, on_delete=models.SET_NULL, related_name="+")
    source = models.CharField(max_length=4096)
    points = models.ManyToManyField(RestorePoint, related_name="drills")
    made_at = models.DateTimeField()
    at = models.DateTimeField(db_index=True)
    is_sample = models.BooleanField(default=False)
    machine = models.CharField(max_length=64, blank=True)
    result = models.CharField(max_length=10, choices=RESULTS)
    reason = models.TextField(blank=True)
    remedy = models.TextField(blank=True)
    checks = models.JSONField(default=list)
    files = models.BigIntegerField(default=0)
    bytes = models.BigIntegerField(default=0)
    restore_s = models.FloatField(default=0)
    start_s = models.FloatField(default=0)
    total_s = models.FloatField(default=0)
    rto = models.DurationField(null=True)
    hashes = models.JSONField(default=list)
    notes = models.JSONField(default=list)

    objects = DrillQuerySet.as_manager()

    class Meta:
        ordering = ["-at", "-id"]
        indexes = [models.Index(fields=["device", "-at"], name="recovery_drill_newest")]

    def __str__(self) -> str:
        return f"drill of {self.source} of {self.device} at {self.at:%Y-%m-%d %H:%M}"

    def get_absolute_url(self) -> str:
        return reverse("drill", args=[self.pk])


class DrillRule(models.Model):
    """How often the restore points of a policy are drilled, where, and how long bringing one back may take.
    `is_sampled`: each is looked into as well. `machine` is the device on which they are drilled, None: the
    console's own machine."""

    NEVER, EVERY, DAILY, WEEKLY, MONTHLY = "never", "every", "daily", "weekly", "monthly"
    RHYTHMS = [
        (NEVER, "Only by hand"),
        (EVERY, "Every restore point"),
        (DAILY, "Daily"),
        (WEEKLY, "Weekly"),
        (MONTHLY, "Every 30 days"),
    ]

    policy = models.OneToOneField(
        Policy, primary_key=True, on_delete=models.CASCADE, related_name="drill_rule"
    )
    rhythm = models.CharField(max_length=8, choices=RHYTHMS, default=NEVER)
    rto = models.DurationField(null=True, blank=True)
    is_sampled = models.BooleanField(default=False)
    machine = models.ForeignKey(Device, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")


class DrillQuestion(models.Model):
    """A person's own query to a source of a policy, by the source's key, and the answer that is expected."""

    COMPARISONS = [
        ("=", "is"),
        (">", "is more than"),
        (">=", "is at least"),
        ("<", "is less than"),
        ("<=", "is at most"),
        ("contains", "contains"),
    ]

    policy = models.ForeignKey(Policy, on_delete=models.CASCADE, related_name="drill_questions")
    source = models.CharField(max_length=4096)
    text = models.TextField()
    comparison = models.CharField(max_length=8, choices=COMPARISONS, default=">")
    value = models.CharField(max_length=1000)
    database = models.CharField(max_length=255, blank=True)

    class Meta:
        ordering = ["source", "id"]


class DrillTurn(models.Model):
    """When a source of a device is next drilled by a policy, or sampled: claimed by a conditional UPDATE.
    `done_at` is the end of its newest drill that came to a result."""

    policy = models.ForeignKey(Policy, on_delete=models.CASCADE, related_name="+")
    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="+")
    source = models.CharField(max_length=4096)
    is_sample = models.BooleanField(default=False)
    next_due = models.DateTimeField(null=True, db_index=True)
    since = models.DateTimeField()
    done_at = models.DateTimeField(null=True)
    told_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["policy", "device", "source", "is_sample"], name="recovery_turn_once"
            ),
        ]
