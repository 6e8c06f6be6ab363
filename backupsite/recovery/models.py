"""What can be restored."""

from __future__ import annotations

import posixpath
import uuid

from django.db import models
from django.urls import reverse

from backupsite.fleet.models import Device
from backupsite.policies.models import Policy
from backupsite.recovery.folders import decode_path
from backupsite.repositories.models import Repository
from backupsite.runs.models import Run


class RestorePoint(models.Model):
    """One source of one device at one moment, or one stream of it. Made only after the data was durable and
    read back.

    `source` is its key ("/etc", "postgresql:15/main"), `part` the name of the stream. The points of one
    source and one run are a set, made at the same `made_at`; sources of one `group` were held together.
    `paths` are those that restic recorded, encoded as in `recovery.folders`: jsonb refuses some bytes.
    `proof` is what the file system said then. `is_unchanged`: it said the same at the point before, and both
    are one snapshot of restic. `made_at` is the server's clock; `restic_id` the 64 hex digits of restic's
    snapshot; `is_complete` False when some files could not be read; `consistency` is a value of
    agents.events.Consistency. `drill_state` is what its newest drill with a result proved, at `verified_at`;
    SAMPLED: nobody drilled it, but it was looked into.

    `is_protected`: a person wants it for ever; `held_until`: nobody removes it before. Once removed it rests:
    it can be had back until `rests_until`, then `recovery.retiring` has it forgotten. `resting_why` is
    "policy" or who removed it. `damage` is what a check found of its data, and was not mended.
    """

    NOT_DRILLED, SAMPLED, PROVEN, REFUTED = "none", "sample", "proven", "failed"
    DRILL_STATES = [
        (NOT_DRILLED, "Not drilled"),
        (SAMPLED, "Sampled"),
        (PROVEN, "Proven"),
        (REFUTED, "Failed its drill"),
    ]

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    device = models.ForeignKey(Device, on_delete=models.PROTECT, related_name="restore_points")
    repository = models.ForeignKey(Repository, on_delete=models.PROTECT, related_name="restore_points")
    policy = models.ForeignKey(Policy, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    run = models.ForeignKey(Run, null=True, on_delete=models.SET_NULL, related_name="restore_points")
    source = models.CharField(max_length=4096)
    part = models.CharField(max_length=255, blank=True)
    group = models.CharField(max_length=64, blank=True)
    paths = models.JSONField(default=list)
    restic_id = models.CharField(max_length=64)
    made_at = models.DateTimeField()
    method = models.CharField(max_length=64)
    consistency = models.CharField(max_length=16)
    is_complete = models.BooleanField(default=True)
    size_bytes = models.BigIntegerField()
    file_count = models.BigIntegerField()
    stored_bytes = models.BigIntegerField(default=0)
    problem_count = models.PositiveIntegerField(default=0)
    proof = models.TextField(blank=True)
    is_unchanged = models.BooleanField(default=False)
    drill_state = models.CharField(max_length=6, choices=DRILL_STATES, default=NOT_DRILLED)
    verified_at = models.DateTimeField(null=True, blank=True)
    is_protected = models.BooleanField(default=False)
    protected_by = models.CharField(max_length=64, blank=True)
    held_until = models.DateTimeField(null=True, blank=True)
    hold_reason = models.CharField(max_length=200, blank=True)
    resting_since = models.DateTimeField(null=True, blank=True)
    resting_why = models.CharField(max_length=64, blank=True)
    rests_until = models.DateTimeField(null=True, blank=True, db_index=True)
    damage = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["-made_at", "source", "part"]
        indexes = [
            models.Index(fields=["device", "-made_at"], name="recovery_device_newest"),
            models.Index(
                fields=["-made_at"], condition=models.Q(resting_since=None), name="recovery_newest_of_all"
            ),
        ]
        constraints = [
            models.UniqueConstraint(fields=["repository", "restic_id", "run"], name="recovery_point_once"),
        ]

    def __str__(self) -> str:
        return f"{self.source} of {self.device} at {self.made_at:%Y-%m-%d %H:%M}"

    def get_absolute_url(self) -> str:
        return reverse("point", args=[self.pk])

    @property
    def top_folder(self) -> str:
        """The folder that holds everything of it: where looking into it begins."""
        if self.part:
            return "/"
        recorded = [decode_path(path) for path in self.paths]
        if not recorded:
            return self.source if self.source.startswith("/") else "/"
        return posixpath.commonpath(recorded)


class PointCopy(models.Model):
    """A restore point in the second copy of its repository, there as restic's snapshot `restic_id`."""

    point = models.ForeignKey(RestorePoint, on_delete=models.CASCADE, related_name="copies")
    repository = models.ForeignKey(Repository, on_delete=models.PROTECT, related_name="copied_points")
    restic_id = models.CharField(max_length=64)
    copied_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["point", "repository"], name="recovery_copy_once"),
        ]


class RetentionHold(models.Model):
    """Nothing of a device is removed while it lasts: after a mass change, a collapse of its size, a jump of
    the clock, or because a person said so. Without a device: of the whole fleet."""

    ANOMALY, CLOCK, PERSON = "anomaly", "clock", "person"
    CAUSES = [(ANOMALY, "Unusual change"), (CLOCK, "Clock jumped"), (PERSON, "Held by a person")]

    device = models.ForeignKey(
        Device, null=True, blank=True, on_delete=models.CASCADE, related_name="retention_holds"
    )
    cause = models.CharField(max_length=8, choices=CAUSES)
    text = models.CharField(max_length=400)
    since = models.DateTimeField()
    lifted_at = models.DateTimeField(null=True, blank=True)
    lifted_by = models.CharField(max_length=64, blank=True)

    class Meta:
        ordering = ["-since"]


class SeenInstance(models.Model):
    """An application as its backup saw it: what a comeback knows when nothing of it is left on the device.

    One for each set of restore points, at one of them; `facts` is the text of `agents.facts.wire`."""

    point = models.OneToOneField(RestorePoint, primary_key=True, on_delete=models.CASCADE, related_name="+")
    facts = models.TextField()


class Exposure(models.Model):
    """How a device stands, as `recovery.stored` writes it; without a row nobody ever protected the device.

    `base` is the value of `exposure.Standing` while no restore point is old. After `close_at` the device is
    close to its limit, after `missed_at` outside of its target. `newest_at` is the restore point that
    decides `missed_at`: the newest of its source. Until `paused_until` a pause holds one of its sources: both
    moments are later then. `undecided` names, ready to be shown, what nobody decided about; "" for nothing.
    """

    device = models.OneToOneField(Device, primary_key=True, on_delete=models.CASCADE, related_name="exposure")
    base = models.PositiveSmallIntegerField()
    close_at = models.DateTimeField(null=True)
    missed_at = models.DateTimeField(null=True)
    newest_at = models.DateTimeField(null=True)
    paused_until = models.DateTimeField(null=True)
    undecided = models.TextField(default="", blank=True)


class Listing(models.Model):
    """What a folder of a restore point holds. A restore point never changes, so it is read once.

    `folder_key` is the URL form of the folder's bytes (`recovery.folders`), hashed since it may be long.
    """

    point = models.ForeignKey(RestorePoint, on_delete=models.CASCADE, related_name="listings")
    folder_key = models.CharField(max_length=64)
    entry_count = models.PositiveIntegerField(default=0)
    made_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["point", "folder_key"], name="recovery_listing_once")]


class ListingPage(models.Model):
    """A part of a listing, `PAGE_SIZE` entries as `recovery.folders` writes them."""

    PAGE_SIZE = 500

    listing = models.ForeignKey(Listing, on_delete=models.CASCADE, related_name="pages")
    number = models.PositiveIntegerField()
    entries = models.JSONField()

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["listing", "number"], name="recovery_page_once")]


class Download(models.Model):
    """A file, or an archive of a folder or of several paths, out of a restore point for a person's browser.

    A worker writes it to the spool; it is offered only when it is whole, and removed after `expires_at`.
    `archive` is a value of `agents.browse.Archive`.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    point = models.ForeignKey(RestorePoint, on_delete=models.CASCADE, related_name="downloads")
    run = models.OneToOneField(Run, null=True, on_delete=models.SET_NULL, related_name="download")
    requested_by = models.CharField(max_length=64)
    path_key = models.TextField()
    archive = models.CharField(max_length=3, blank=True)
    size_bytes = models.BigIntegerField(null=True, blank=True)
    is_ready = models.BooleanField(default=False)
    expires_at = models.DateTimeField(db_index=True)


class RestoreForecast(models.Model):
    """What a look before a restore said (`recovery.forecasts`): numbers, times and bounded texts."""

    run = models.OneToOneField(Run, primary_key=True, on_delete=models.CASCADE, related_name="forecast")
    said = models.JSONField()
