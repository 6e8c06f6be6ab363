"""What can be restored."""

from __future__ import annotations

import uuid

from django.db import models
from django.urls import reverse

from backupsite.fleet.models import Device
from backupsite.policies.models import Policy
from backupsite.repositories.models import Repository
from backupsite.runs.models import Run


class RestorePoint(models.Model):
    """One source of one device at one moment. Made only after the data was durable and read back.

    `made_at` is the server's clock; `restic_id` the 64 hex digits of restic's snapshot; `is_complete` False
    when some files could not be read; `consistency` is a value of agents.events.Consistency.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    device = models.ForeignKey(Device, on_delete=models.PROTECT, related_name="restore_points")
    repository = models.ForeignKey(Repository, on_delete=models.PROTECT, related_name="restore_points")
    policy = models.ForeignKey(Policy, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    run = models.ForeignKey(Run, null=True, on_delete=models.SET_NULL, related_name="restore_points")
    source = models.CharField(max_length=4096)
    restic_id = models.CharField(max_length=64)
    made_at = models.DateTimeField()
    method = models.CharField(max_length=32)
    consistency = models.CharField(max_length=16)
    is_complete = models.BooleanField(default=True)
    size_bytes = models.BigIntegerField()
    file_count = models.BigIntegerField()
    stored_bytes = models.BigIntegerField(default=0)
    problem_count = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["-made_at", "source"]
        indexes = [models.Index(fields=["device", "-made_at"], name="recovery_device_newest")]
        constraints = [
            models.UniqueConstraint(fields=["repository", "restic_id"], name="recovery_point_once"),
        ]

    def __str__(self) -> str:
        return f"{self.source} of {self.device} at {self.made_at:%Y-%m-%d %H:%M}"

    def get_absolute_url(self) -> str:
        return reverse("point", args=[self.pk])
