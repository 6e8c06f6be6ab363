"""Devices and how they are reached."""

from __future__ import annotations

import uuid

from django.db import models
from django.urls import reverse


class SshKey(models.Model):
    """A key pair of the console. The private half is sealed for the workers' key."""

    name = models.CharField(max_length=64, unique=True)
    public_line = models.TextField()
    sealed_private_key = models.BinaryField()
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name


class JumpHost(models.Model):
    """A machine through which devices are reached. It shows the same key of the console as they do."""

    address = models.CharField(max_length=253)
    port = models.PositiveIntegerField(default=22)
    user = models.CharField(max_length=32)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["address", "port", "user"]
        constraints = [
            models.UniqueConstraint(fields=["address", "port", "user"], name="fleet_jump_host_once"),
        ]

    def __str__(self) -> str:
        return f"{self.user}@{self.address}" + (f", port {self.port}" if self.port != 22 else "")


class Tag(models.Model):
    """A word that groups devices: policies select by it. `is_site`: the devices with it stand in one place,
    behind one line: at most `most_runs` of them work at once, and when nobody there answers, that is one
    alert."""

    name = models.CharField(max_length=40, unique=True)
    is_site = models.BooleanField(default=False)
    most_runs = models.PositiveSmallIntegerField(null=True, blank=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Device(models.Model):
    """A server that is backed up: reached by SSH, or the console's own machine (`reach` "local").

    `criticality` says how much of a pause its users stand: what is proposed for its policies follows from it.
    `is_always_on` False: a laptop or a machine that sleeps; that it does not answer is no alarm by itself.
    `retired_at`: it is decommissioned, no run starts any more, its restore points stay. `found` is the part
    of `facts` that somebody must decide about (`policies.found`).
    """

    SSH, LOCAL = "ssh", "local"
    REACHES = [(SSH, "Over SSH"), (LOCAL, "This machine, without SSH")]
    LOW, NORMAL, HIGH, CRITICAL = "low", "normal", "high", "critical"
    CRITICALITIES = [
        (LOW, "Low: it may stop for minutes"),
        (NORMAL, "Normal: it may stop at night, shortly"),
        (HIGH, "High: a stop must be agreed upon"),
        (CRITICAL, "Critical: it never stops"),
    ]

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    slug = models.SlugField(max_length=80, unique=True)
    name = models.CharField(max_length=64, unique=True)
    reach = models.CharField(max_length=8, choices=REACHES, default=SSH)
    address = models.CharField(max_length=253, blank=True)
    port = models.PositiveIntegerField(default=22)
    user = models.CharField(max_length=32, blank=True, default="root")
    ssh_key = models.ForeignKey(
        SshKey, null=True, blank=True, on_delete=models.PROTECT, related_name="devices"
    )
    jump_host = models.ForeignKey(
        JumpHost, null=True, blank=True, on_delete=models.PROTECT, related_name="devices"
    )
    criticality = models.CharField(max_length=8, choices=CRITICALITIES, default=NORMAL)
    tags = models.ManyToManyField(Tag, blank=True, related_name="devices")
    is_always_on = models.BooleanField(default=True)
    retired_at = models.DateTimeField(null=True, blank=True)
    facts = models.JSONField(default=dict, blank=True)
    found = models.TextField(default="", blank=True)
    facts_at = models.DateTimeField(null=True, blank=True)
    reached_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["reach"], condition=models.Q(reach="local"), name="fleet_one_local_device"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("device", args=[self.slug])

    @property
    def is_local(self) -> bool:
        return self.reach == self.LOCAL


class HostKey(models.Model):
    """A host key that a device or a jump host showed. Only an approved one lets a run start; others wait."""

    PENDING, APPROVED, RETIRED = "pending", "approved", "retired"
    STATES = [(PENDING, "Waits for approval"), (APPROVED, "Approved"), (RETIRED, "Retired")]

    device = models.ForeignKey(
        Device, null=True, blank=True, on_delete=models.CASCADE, related_name="host_keys"
    )
    jump_host = models.ForeignKey(
        JumpHost, null=True, blank=True, on_delete=models.CASCADE, related_name="host_keys"
    )
    key_type = models.CharField(max_length=64)
    blob = models.BinaryField()
    fingerprint = models.CharField(max_length=80)
    state = models.CharField(max_length=8, choices=STATES, default=PENDING)
    seen_at = models.DateTimeField(auto_now_add=True)
    decided_at = models.DateTimeField(null=True, blank=True)
    decided_by = models.CharField(max_length=64, blank=True)

    class Meta:
        ordering = ["key_type", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["device", "fingerprint"], name="fleet_host_key_once"),
            models.UniqueConstraint(fields=["jump_host", "fingerprint"], name="fleet_jump_host_key_once"),
            models.CheckConstraint(
                condition=models.Q(device=None) ^ models.Q(jump_host=None), name="fleet_host_key_of_one"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.key_type} {self.fingerprint}"
