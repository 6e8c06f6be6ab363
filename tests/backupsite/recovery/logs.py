"""Logs that policies want, for tests: rows, and what is heard of them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone

from agents.wal.words import Streamed, Tick
from backupsite.fleet.models import Device
from backupsite.policies.models import Policy, Source
from backupsite.recovery.wal import wishes
from backupsite.recovery.wal_models import WalStream
from tests.backupsite.making import make_device, make_policy


def want(*devices: Device, name: str = "databases", **fields: Any) -> Policy:
    """A policy that keeps the log of 15/main of these devices."""
    policy = make_policy(*devices, name=name, paths=())
    source = {"application": "postgresql", "instance": "15/main", "keeps_log": True, **fields}
    Source.objects.create(policy=policy, **source)
    return policy


def make_stream(device: Device | None = None, **fields: object) -> WalStream:
    want(device or make_device())
    wishes.look(timezone.now())
    WalStream.objects.update(**fields)
    return WalStream.objects.select_related("device").get()


def tell_streamed(lsn: int = 100, *, ago_s: float = 0, behind_bytes: int = 0) -> Streamed:
    at = timezone.now() - timedelta(seconds=ago_s)
    return Streamed("stretch-1", "7" * 19, 1, Tick(at, at, lsn, lsn), behind_bytes)
