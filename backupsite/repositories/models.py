"""Where restore points are kept."""

from __future__ import annotations

import uuid

from django.db import models

from backupsite.fleet.models import Device


class Node(models.Model):
    """A place where workers run beside their storage. The console's machine is the first.

    `ticket` is a hash of the secret with which its machine joins, once. `heard_at` is when its workers were
    last heard; of the console's own machine nobody asks.
    """

    slug = models.SlugField(max_length=40, unique=True)
    name = models.CharField(max_length=64)
    ticket = models.CharField(max_length=64, blank=True)
    added_at = models.DateTimeField(auto_now_add=True)
    joined_at = models.DateTimeField(null=True, blank=True)
    heard_at = models.DateTimeField(null=True, blank=True)
    machine = models.CharField(max_length=64, blank=True)
    version = models.CharField(max_length=32, blank=True)

    def __str__(self) -> str:
        return self.name


class Storage(models.Model):
    """A directory of a node, or a part of an object store, under which repositories are made; it was tested.

    `path` is absolute, or of an object store its URL, made from the fields below, for people to read.
    `marker` stands in a file in it: without that file it is not the place that was set up (its disk is not
    mounted), and nothing is written. `sealed_secret` opens the account of an object store. `quota_bytes` is
    what may be used of what has no end of its own. `reading_costs`: whole reads are spread as thinly as the
    rules allow. `is_default`: devices that have no repository yet get theirs there.
    `reading_budget_bytes` is what checks, copies and drills may read in a month: 0 any amount, None what the
    kind proposes; `reading_from` to `reading_until` (UTC) is when, both None always; `maintenance_mb_s` how
    fast they read and write. No backup and no restore is ever held to these.
    """

    DIRECTORY, S3, GCS, AZURE = "directory", "s3", "gcs", "azure"
    KINDS = [
        (DIRECTORY, "Directory or mount"),
        (S3, "S3 or compatible"),
        (GCS, "Google Cloud Storage"),
        (AZURE, "Azure Blob Storage"),
    ]

    kind = models.CharField(max_length=10, choices=KINDS, default=DIRECTORY)
    node = models.ForeignKey(Node, on_delete=models.PROTECT, related_name="storages")
    name = models.CharField(max_length=64, unique=True)
    path = models.CharField(max_length=1024)
    marker = models.CharField(max_length=64)
    endpoint = models.CharField(max_length=300, blank=True)
    region = models.CharField(max_length=64, blank=True)
    bucket = models.CharField(max_length=255, blank=True)
    prefix = models.CharField(max_length=500, blank=True)
    account = models.CharField(max_length=255, blank=True)
    sealed_secret = models.BinaryField(default=bytes)
    quota_bytes = models.BigIntegerField(null=True, blank=True)
    reading_costs = models.BooleanField(default=False)
    reading_budget_bytes = models.BigIntegerField(null=True, blank=True)
    reading_from = models.TimeField(null=True, blank=True)
    reading_until = models.TimeField(null=True, blank=True)
    maintenance_mb_s = models.PositiveIntegerField(null=True, blank=True)
    is_default = models.BooleanField(default=False)
    most_runs = models.PositiveSmallIntegerField(null=True, blank=True)
    total_bytes = models.BigIntegerField(null=True, blank=True)
    free_bytes = models.BigIntegerField(null=True, blank=True)
    tested_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["is_default"],
                condition=models.Q(is_default=True),
                name="repositories_one_default_storage",
            ),
            models.UniqueConstraint(fields=["node", "path"], name="repositories_storage_once"),
        ]

    def __str__(self) -> str:
        return self.name


class ReadingMonth(models.Model):
    """What checks, copies and drills read of a storage with limits in a month (UTC), by its first day."""

    storage = models.ForeignKey(Storage, on_delete=models.CASCADE, related_name="reading_months")
    month = models.DateField()
    read_bytes = models.BigIntegerField(default=0)

    class Meta:
        ordering = ["-month"]
        constraints = [
            models.UniqueConstraint(fields=["storage", "month"], name="repositories_reading_month_once"),
        ]


class RecoveryPassword(models.Model):
    """The second key of every repository, printed in the recovery kit. One row; sealed for the workers.

    `fingerprint` is the first 8 hex digits of SHA-256 of the password, so that a printed kit can be matched.
    `ending_hash` is a slow hash of its last 4 characters, kept only until a person has typed them.
    """

    sealed_password = models.BinaryField()
    fingerprint = models.CharField(max_length=16)
    ending_hash = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    kit_downloaded_at = models.DateTimeField(null=True, blank=True)
    kit_confirmed_at = models.DateTimeField(null=True, blank=True)


class Repository(models.Model):
    """An encrypted restic store, made by the server: of one device, which only adds to it; or the second copy
    of such a one (`copy_of`), which only the server writes.

    `structure_checked_at` is when its index and trees were last checked, `read_at` when the last part of the
    rotation that reads all its data was, `damage` what was found and is not mended, `pruned_at` when space
    was last given back. `reading` is the fields of the last agents.maintaining.words.ReadingReport;
    `copied_at`, of a second copy, when nothing was missing from it.
    """

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    device = models.OneToOneField(
        Device, null=True, blank=True, on_delete=models.PROTECT, related_name="repository"
    )
    copy_of = models.OneToOneField(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="second_copy"
    )
    storage = models.ForeignKey(Storage, on_delete=models.PROTECT, related_name="repositories")
    sealed_password = models.BinaryField()
    restic_id = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    used_bytes = models.BigIntegerField(default=0)
    measured_at = models.DateTimeField(null=True, blank=True)
    structure_checked_at = models.DateTimeField(null=True, blank=True)
    read_at = models.DateTimeField(null=True, blank=True)
    damage = models.TextField(blank=True)
    damaged_at = models.DateTimeField(null=True, blank=True)
    pruned_at = models.DateTimeField(null=True, blank=True)
    reading = models.JSONField(default=dict, blank=True)
    copied_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "repositories"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(device=None) ^ models.Q(copy_of=None), name="repositories_of_one"
            ),
        ]

    def __str__(self) -> str:
        return f"repository of {self.owner}" if self.copy_of is None else f"second copy of {self.owner}"

    @property
    def owner(self) -> Device:
        """The device whose data it holds, at first or second hand."""
        found = self.device if self.copy_of is None else self.copy_of.device
        if found is None:
            raise LookupError(f"The repository {self.uuid} belongs to no device.")
        return found

    @property
    def is_made(self) -> bool:
        """True once restic initialised it."""
        return bool(self.restic_id)


class ConsoleRepository(models.Model):
    """Where the console keeps copies of its own database in a storage, as a restic repository of its own.

    The keys that open the secrets in that database lie beside it, sealed with the recovery password, and
    never in it. `next_at` is when to look again (and the right to: it is moved on before the work begins),
    `mark` what the state of the console was at the newest copy. `problem` is why there is no newer one.
    """

    storage = models.OneToOneField(Storage, on_delete=models.PROTECT, related_name="console_repository")
    sealed_password = models.BinaryField()
    restic_id = models.CharField(max_length=64, blank=True)
    next_at = models.DateTimeField(db_index=True)
    mark = models.CharField(max_length=200, blank=True)
    problem = models.TextField(blank=True)
    problem_since = models.DateTimeField(null=True, blank=True)
    used_bytes = models.BigIntegerField(default=0)
    pruned_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)


class ConsoleBackup(models.Model):
    """One good copy of the console's database: checked, stored, read back."""

    repository = models.ForeignKey(ConsoleRepository, on_delete=models.CASCADE, related_name="backups")
    made_at = models.DateTimeField()
    restic_id = models.CharField(max_length=64)
    size_bytes = models.BigIntegerField()

    class Meta:
        ordering = ["-made_at"]
        constraints = [
            models.UniqueConstraint(fields=["repository", "restic_id"], name="repositories_own_once"),
        ]


class SpaceSample(models.Model):
    """How full a storage was on a day, and what one repository took of it: growth, and when it is full."""

    storage = models.ForeignKey(Storage, on_delete=models.CASCADE, related_name="samples")
    repository = models.ForeignKey(
        Repository, null=True, blank=True, on_delete=models.CASCADE, related_name="samples"
    )
    day = models.DateField()
    used_bytes = models.BigIntegerField()
    free_bytes = models.BigIntegerField(null=True)

    class Meta:
        ordering = ["day"]
        constraints = [
            models.UniqueConstraint(
                fields=["repository", "day"],
                condition=models.Q(repository__isnull=False),
                name="repositories_sample_of_repository_once",
            ),
            models.UniqueConstraint(
                fields=["storage", "day"],
                condition=models.Q(repository=None),
                name="repositories_sample_of_storage_once",
            ),
        ]
