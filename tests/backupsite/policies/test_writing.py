from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backupsite.accounts.models import AuditEvent
from backupsite.fleet.devices import Actor
from backupsite.fleet.models import Device
from backupsite.policies.models import Policy
from backupsite.policies.writing import remove_policy, save_policy
from tests.backupsite.making import make_device, make_point, make_policy

pytestmark = pytest.mark.django_db
ADA = Actor("ada")
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
FIELDS: dict[str, Any] = {
    "name": "hourly",
    "schedule": "every",
    "every_minutes": 60,
    "rpo": timedelta(hours=3),
    "is_enabled": True,
}


def save(policy: Policy | None, devices: list[Device], *paths: str, **fields: Any) -> Policy:
    sources = [{"path": path, "excludes": "*.tmp", "if_hot_impossible": "fail"} for path in paths]
    return save_policy(ADA, policy, {**FIELDS, **fields}, devices, sources, NOW)


def test_a_new_policy_is_planned_at_once() -> None:
    policy = save(None, [make_device()], "/etc", "/srv")
    assert policy.slug == "hourly"
    assert [source.path for source in policy.sources.all()] == ["/etc", "/srv"]
    due = policy.assignments.get().next_due
    assert due is not None and NOW < due <= NOW + timedelta(hours=1)
    assert AuditEvent.objects.get().verb == "policy.add"


def test_what_stays_keeps_its_row() -> None:
    first, second, third = make_device("a"), make_device("b"), make_device("c")
    policy = save(None, [first, second], "/etc", "/srv")
    kept_source, kept_device = policy.sources.get(path="/srv").pk, policy.assignments.get(device=second).pk
    save(policy, [second, third], "/srv", "/home")
    assert set(policy.sources.values_list("path", flat=True)) == {"/srv", "/home"}
    assert policy.sources.get(path="/srv").pk == kept_source
    assert set(policy.assignments.values_list("device__name", flat=True)) == {"b", "c"}
    assert policy.assignments.get(device=second).pk == kept_device


def test_a_paused_policy_is_not_due() -> None:
    policy = save(None, [make_device()], "/etc", is_enabled=False)
    assert policy.assignments.get().next_due is None


def test_removing_a_policy_keeps_its_restore_points() -> None:
    device = make_device()
    policy = make_policy(device)
    point = make_point(device, policy, NOW)
    remove_policy(ADA, policy)
    point.refresh_from_db()
    assert point.policy is None
    assert AuditEvent.objects.get().verb == "policy.remove"
