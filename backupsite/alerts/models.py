"""Whom to tell, and what was told."""

from __future__ import annotations

from django.db import models


class Target(models.Model):
    """A place that notices go to. The Apprise URL may hold a password: it is sealed for the workers."""

    name = models.CharField(max_length=64, unique=True)
    scheme = models.CharField(max_length=32)
    sealed_url = models.BinaryField()
    is_enabled = models.BooleanField(default=True)
    tested_at = models.DateTimeField(null=True, blank=True)
    test_result = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name


class Notice(models.Model):
    """One message, written in the transaction that causes it and sent by a worker afterwards."""

    at = models.DateTimeField()
    kind = models.CharField(max_length=32)
    key = models.CharField(max_length=120, unique=True)  # the same cause is told once
    title = models.CharField(max_length=200)
    text = models.TextField()
    url = models.CharField(max_length=300, blank=True)
    sent_at = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    result = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["-id"]
