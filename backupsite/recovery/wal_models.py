"""The logs that are followed, and what of them is in the repository."""

from __future__ import annotations

import uuid

from django.db import models

from backupsite.fleet.models import Device
from backupsite.policies.models import Policy
from backupsite.repositories.models import Repository


class WalStream(models.Model):
    """The write-ahead log of one PostgreSQL of a device, followed while a policy wants that (`is_wanted`).

    `slot` is its replication slot, on the device for as long as `has_slot`: what was asked for and not proven
    to be gone is still there. The log before `position` is here: all that was written by `reached_at` on the
    server's clock, `heard_at` on the console's. `problem` and `remedy` say why it stands still, since
    `problem_at`; `told_at` is when people were told that it is behind. `holder` follows it while its lease
    lasts.
    """

    WAITING, CONNECTING, FOLLOWING = "waiting", "connecting", "following"
    TROUBLE, ENDING, OFF = "trouble", "ending", "off"
    STATES = [
        (WAITING, "Waits to begin"),
        (CONNECTING, "Connecting"),
        (FOLLOWING, "Following"),
        (TROUBLE, "Stands still"),
        (ENDING, "Being turned off"),
        (OFF, "Turned off"),
    ]

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    # A device with a slot has a repository, which protects it.
    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="wal_streams")
    instance = models.CharField(max_length=255)
    policy = models.ForeignKey(Policy, null=True, on_delete=models.SET_NULL, related_name="+")
    is_wanted = models.BooleanField(default=True)
    wanted_at = models.DateTimeField()
    slot = models.CharField(max_length=63)
    has_slot = models.BooleanField(default=False)
    state = models.CharField(max_length=10, choices=STATES, default=WAITING)
    stretch = models.CharField(max_length=200, blank=True)
    system_identifier = models.CharField(max_length=20, blank=True)
    timeline = models.BigIntegerField(null=True)
    position = models.BigIntegerField(null=True)
    reached_at = models.DateTimeField(null=True)
    heard_at = models.DateTimeField(null=True)
    behind_bytes = models.BigIntegerField(default=0)
    problem = models.TextField(blank=True)
    remedy = models.TextField(blank=True)
    problem_at = models.DateTimeField(null=True)
    failures = models.PositiveIntegerField(default=0)
    next_try_at = models.DateTimeField(null=True)
    told_at = models.DateTimeField(null=True)
    holder = models.CharField(max_length=64, blank=True)
    lease_token = models.CharField(max_length=32, blank=True)
    lease_until = models.DateTimeField(null=True, db_index=True)

    class Meta:
        ordering = ["device", "instance"]
        constraints = [models.UniqueConstraint(fields=["device", "instance"], name="recovery_stream_once")]

    def __str__(self) -> str:
        return f"log of {self.source} of {self.device}"

    @property
    def source(self) -> str:
        """How restore points name what it is the log of."""
        return f"postgresql:{self.instance}"


class WalBatch(models.Model):
    """A piece of a log in the repository, made when it was read back there: `agents.wal.words.Batch`.

    `piece` holds the fields of its Piece, `restic_id` is restic's snapshot."""

    stream = models.ForeignKey(WalStream, on_delete=models.CASCADE, related_name="batches")
    repository = models.ForeignKey(Repository, on_delete=models.PROTECT, related_name="+")
    restic_id = models.CharField(max_length=64)
    piece = models.JSONField()
    folder = models.TextField()
    size_bytes = models.BigIntegerField()
    stored_at = models.DateTimeField()

    class Meta:
        ordering = ["stored_at", "id"]
        constraints = [
            models.UniqueConstraint(fields=["stream", "restic_id"], name="recovery_wal_batch_once")
        ]


class WalGap(models.Model):
    """Where a log did not continue what was here: what lies between two stretches cannot be reached."""

    stream = models.ForeignKey(WalStream, on_delete=models.CASCADE, related_name="gaps")
    stretch = models.CharField(max_length=200)
    at = models.DateTimeField()
    from_lsn = models.BigIntegerField()
    to_lsn = models.BigIntegerField()
    reason = models.TextField()

    class Meta:
        ordering = ["-at", "-id"]
