"""Whom to tell, and what was told."""

from __future__ import annotations

from django.db import models


class Target(models.Model):
    """A place that notices go to. The Apprise URL may hold a password: it is sealed for the workers.

    `masked_host` is all that a page shows of the address.
    """

    name = models.CharField(max_length=64, unique=True)
    scheme = models.CharField(max_length=32)
    masked_host = models.CharField(max_length=64, blank=True)
    sealed_url = models.BinaryField()
    is_enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name


class Notice(models.Model):
    """One message, written in the transaction that causes it and sent by a worker afterwards.

    `sent_at` is when nothing was left to do: each target got it or was given up, or there is no target.
    """

    at = models.DateTimeField()
    kind = models.CharField(max_length=32)
    key = models.CharField(max_length=120, unique=True)  # the same cause is told once
    title = models.CharField(max_length=200)
    text = models.TextField()
    url = models.CharField(max_length=300, blank=True)
    sent_at = models.DateTimeField(null=True, blank=True, db_index=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.title


class Delivery(models.Model):
    """The way of one notice to one target. `next_at` is when to try (again); None: it is over.

    A target that was deleted leaves its name, so that the page still tells what happened.
    """

    notice = models.ForeignKey(Notice, on_delete=models.CASCADE, related_name="deliveries")
    target = models.ForeignKey(Target, null=True, on_delete=models.SET_NULL, related_name="deliveries")
    target_name = models.CharField(max_length=64)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_at = models.DateTimeField(null=True, blank=True, db_index=True)
    sent_at = models.DateTimeField(null=True, blank=True)
    result = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["notice", "target"], name="alerts_one_delivery_a_target"),
        ]
