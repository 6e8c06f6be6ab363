"""Tags: counted, renamed, made a place, removed with what follows."""

from __future__ import annotations

import pytest
from django.test import Client
from django.utils import timezone

from backupsite.accounts.models import AuditEvent
from backupsite.fleet.models import Device, Tag
from backupsite.policies.models import Policy, PolicyDevice
from backupsite.policies.selecting import refresh_policy
from backupsite.policies.tag_removal import forecast
from tests.backupsite.making import make_device, make_policy

pytestmark = pytest.mark.django_db
HOSTILE = "<script>alert(1)</script>"


def _tagged(name: str, *tags: str) -> Device:
    device = make_device(name)
    device.tags.set([Tag.objects.get_or_create(name=tag)[0] for tag in tags])
    return device


def _selecting(name: str, *tags: str, needs_all: bool = False) -> Policy:
    policy = make_policy(name=name, needs_all_tags=needs_all)
    policy.tags.set(Tag.objects.filter(name__in=tags))
    refresh_policy(policy, timezone.now())
    return policy


def test_the_list_counts_and_shows_hostile_names_as_text(operator: Client) -> None:
    assert "No tags yet" in operator.get("/tags/").content.decode()
    _tagged("db-01", "web", HOSTILE)
    _tagged("db-02", "web")
    _selecting("nightly", "web")
    text = operator.get("/tags/").content.decode()
    assert HOSTILE not in text and "&lt;script&gt;" in text
    row = text[text.index(">web</a>") :]
    assert row.index('data-label="Devices" class="end">2<') < row.index(
        'data-label="Policies" class="end">1<'
    )


def test_a_renamed_tag_keeps_its_devices_and_policies(operator: Client) -> None:
    device = _tagged("db-01", "web")
    policy = _selecting("nightly", "web")
    _tagged("db-02", "shop")
    tag = Tag.objects.get(name="web")
    page = f"/tags/{tag.pk}/"
    taken = operator.post(page, {"name": "Shop"})
    assert taken.status_code == 422 and "Another tag has this name." in taken.content.decode()
    assert operator.post(page, {"name": "a, b"}).status_code == 422
    assert operator.post(page, {"name": "Web", "is_site": "on", "most_runs": "4"}).status_code == 302
    tag.refresh_from_db()
    assert (tag.name, tag.is_site, tag.most_runs) == ("Web", True, 4)
    assert list(tag.devices.all()) == [device] and list(policy.devices.all()) == [device]
    assert refresh_policy(policy, timezone.now()) == set()
    operator.post(page, {"name": "Web", "most_runs": "4"})
    tag.refresh_from_db()
    assert (tag.is_site, tag.most_runs) == (False, None)
    assert AuditEvent.objects.filter(verb="tag.change").count() == 2


def test_a_removed_tag_lets_devices_leave_and_says_so_before(operator: Client) -> None:
    for name in ("db-01", "db-02"):
        _tagged(name, "web")
    _tagged("db-03", "shop")
    only, other = _selecting("only", "web"), _selecting("other", "web", "shop")
    named = PolicyDevice.objects.filter(policy=only).first()
    assert named is not None
    PolicyDevice.objects.filter(pk=named.pk).update(is_by_name=True)
    tag = Tag.objects.get(name="web")
    text = operator.get(f"/tags/{tag.pk}/delete/").content.decode()
    assert "It selects by no other tag: 1 device leaves it" in text and "2 devices leave it" in text
    assert Tag.objects.filter(name="web").exists()
    assert operator.post(f"/tags/{tag.pk}/delete/").headers["Location"] == "/tags/"
    assert list(only.assignments.values_list("pk", flat=True)) == [named.pk]
    assert [device.name for device in other.devices.all()] == ["db-03"]
    assert AuditEvent.objects.filter(verb="tag.remove").count() == 1


def test_a_tag_without_which_a_policy_would_cover_more_is_not_removed(operator: Client) -> None:
    _tagged("db-01", "web", "hamburg")
    _tagged("db-02", "web")
    policy = _selecting("both", "web", "hamburg", needs_all=True)
    tag = Tag.objects.get(name="hamburg")
    (found,) = forecast(tag)
    assert found.widens and (found.joining, found.leaving) == (1, 0)
    text = operator.get(f"/tags/{tag.pk}/delete/").content.decode()
    assert "1 more device would join" in text and "Remove the tag</button>" not in text
    assert operator.post(f"/tags/{tag.pk}/delete/").status_code == 409
    assert Tag.objects.filter(pk=tag.pk).exists()
    assert [device.name for device in policy.devices.all()] == ["db-01"]


def test_a_stranger_sees_and_changes_nothing(client: Client) -> None:
    _tagged("db-01", "web")
    tag = Tag.objects.get()
    for page in ("/tags/", f"/tags/{tag.pk}/", f"/tags/{tag.pk}/delete/"):
        assert client.get(page).status_code == 302
    client.post(f"/tags/{tag.pk}/delete/")
    assert Tag.objects.filter(pk=tag.pk).exists()
