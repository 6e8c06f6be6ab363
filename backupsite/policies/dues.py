"""When a device or a policy is next due, by its schedule or in its cold window."""

from __future__ import annotations

from django.db.models import Min, Q
from django.db.models.functions import Coalesce, Least

IS_DUE = Q(next_due__isnull=False) | Q(next_cold_due__isnull=False)


def earliest_due(prefix: str = "") -> Least:
    """Return the earliest of both for a group of PolicyDevice rows, None without any.

    SQLite's least of a number and nothing is nothing, so each stands for the other when it is missing."""
    own, cold = Min(f"{prefix}next_due"), Min(f"{prefix}next_cold_due")
    return Least(Coalesce(own, cold), Coalesce(cold, own))
