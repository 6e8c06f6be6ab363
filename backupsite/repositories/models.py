"""Where restore points are kept."""

from __future__ import annotations

import uuid

from django.db import models

from backupsite.fleet.models import Device


class Node(models.Model):
    """A place where workers run beside their storage. The console's machine is the first."""

    slug = models.SlugField(max_length=40, unique=True)
    name = models.CharField(max_length=64)

    def __str__(self) -> str:
        return self.name


class Storage(models.Model):
    """A directory of a node under which repositories are made. `path` is absolute and was tested.

    `marker` stands in a file in it: without that file the disk is not mounted, and nothing is written.
    """

    node = models.ForeignKey(Node, on_delete=models.PROTECT, related_name="storages")
    name = models.CharField(max_length=64, unique=True)
    path = models.CharField(max_length=1024, unique=True)
    marker = models.CharField(max_length=64)
    total_bytes = models.BigIntegerField(null=True, blank=True)
    free_bytes = models.BigIntegerField(null=True, blank=True)
    tested_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name


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
    """An encrypted restic store of one device, made by the server. The device only adds to it."""

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    device = models.OneToOneField(Device, on_delete=models.PROTECT, related_name="repository")
    storage = models.ForeignKey(Storage, on_delete=models.PROTECT, related_name="repositories")
    sealed_password = models.BinaryField()
    restic_id = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    used_bytes = models.BigIntegerField(default=0)
    measured_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "repositories"

    def __str__(self) -> str:
        return f"repository of {self.device}"

    @property
    def is_made(self) -> bool:
        """True once restic initialised it."""
        return bool(self.restic_id)
