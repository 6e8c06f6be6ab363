"""Devices join policies by their tags, and leave; what a person named stays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from backupsite.accounts.models import AuditEvent
from backupsite.fleet.devices import Actor, Reach, change_device, retire_device
from backupsite.fleet.models import Device, Tag
from backupsite.fleet.tags import change_tags, find_tags, parse_tags, set_tags
from backupsite.policies.models import Policy
from backupsite.policies.selecting import refresh_devices, refresh_policy
from backupsite.policies.writing import save_policy
from tests.backupsite.making import make_device, make_point, make_policy

ADA = Actor("ada")
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
pytestmark = pytest.mark.django_db


def covered(policy: Policy) -> dict[str, bool]:
    return dict(policy.assignments.values_list("device__name", "is_by_name"))


def save(policy: Policy | None, devices: list[Device], tags: list[str], *, needs_all: bool = False) -> Policy:
    fields = {"name": "web", "rpo": timedelta(hours=3), "needs_all_tags": needs_all}
    return save_policy(ADA, policy, fields, devices, [{"path": "/etc"}], NOW, tags=find_tags(tags))


def test_what_has_a_tag_joins_is_due_and_leaves() -> None:
    web = make_device("web-1")
    set_tags(ADA, web, ["Web"])
    policy = save(None, [], ["web"])
    assert covered(policy) == {"web-1": False}
    assert policy.assignments.get().next_due is not None
    later = make_device("web-2")
    set_tags(ADA, later, ["WEB", "hamburg"])
    assert refresh_devices(NOW) == {later.pk}
    assert covered(policy) == {"web-1": False, "web-2": False}
    change_tags(ADA, [web, later], [], ["web"])
    assert refresh_devices(NOW) == {web.pk, later.pk}
    assert covered(policy) == {}


def test_what_was_named_stays_whatever_its_tags_are() -> None:
    web = make_device("web-1")
    policy = save(None, [web], ["web"])
    row = policy.assignments.get().pk
    set_tags(ADA, web, ["web"])
    refresh_devices(NOW)
    set_tags(ADA, web, [])
    refresh_devices(NOW)
    assert covered(policy) == {"web-1": True}
    assert policy.assignments.get().pk == row


def test_what_is_not_named_any_more_stays_by_its_tags_with_its_history() -> None:
    web = make_device("web-1")
    set_tags(ADA, web, ["web"])
    policy = save(None, [web], ["web"])
    policy.assignments.update(succeeded_at=NOW)
    row = policy.assignments.get().pk
    save(policy, [], ["web"])
    assert covered(policy) == {"web-1": False}
    assert (policy.assignments.get().pk, policy.assignments.get().succeeded_at) == (row, NOW)
    save(policy, [web], ["web"])
    assert covered(policy) == {"web-1": True}


def test_all_tags_or_any() -> None:
    for name, tags in (("a", ["web"]), ("b", ["web", "hamburg"]), ("c", ["hamburg"]), ("d", [])):
        set_tags(ADA, make_device(name), tags)
    policy = save(None, [], ["web", "hamburg"])
    assert set(covered(policy)) == {"a", "b", "c"}
    save(policy, [], ["web", "hamburg"], needs_all=True)
    assert set(covered(policy)) == {"b"}
    save(policy, [], [])
    assert covered(policy) == {}


def test_what_is_out_of_service_is_selected_by_nothing_and_comes_back() -> None:
    web = make_device("web-1")
    set_tags(ADA, web, ["web"])
    policy = save(None, [], ["web"])
    assert retire_device(ADA, web, is_retired=True, now=NOW)
    assert not retire_device(ADA, web, is_retired=True, now=NOW)
    refresh_devices(NOW)
    assert covered(policy) == {}
    assert retire_device(ADA, web, is_retired=False, now=NOW)
    refresh_devices(NOW)
    assert covered(policy) == {"web-1": False}


def test_history_stays_with_another_name_and_out_of_service() -> None:
    device = make_device("old")
    point = make_point(device, make_policy(device), NOW)
    change_device(ADA, device, "new", Reach(device.reach, device.address, device.port, device.user))
    retire_device(ADA, device, is_retired=True, now=NOW)
    device.refresh_from_db()
    assert (device.name, device.restore_points.get()) == ("new", point)


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("", ()),
        (" web , hamburg;web\nWEB ,,", ("web", "hamburg")),
        ("Zürich, db-1", ("Zürich", "db-1")),
    ],
)
def test_tags_as_they_are_typed(typed: str, names: tuple[str, ...]) -> None:
    assert parse_tags(typed) == names


@pytest.mark.parametrize("typed", ["=1+1", "x" * 41, "a\u202eb", ", ".join(f"t{n}" for n in range(21))])
def test_bad_tags_say_why(typed: str) -> None:
    with pytest.raises(ValueError, match=r"\."):
        parse_tags(typed)


def test_a_tag_that_nothing_uses_goes_and_a_site_stays() -> None:
    device = make_device()
    set_tags(ADA, device, ["web", "hamburg"])
    Tag.objects.filter(name="hamburg").update(is_site=True)
    set_tags(ADA, device, [])
    assert [tag.name for tag in Tag.objects.all()] == ["hamburg"]
    event = AuditEvent.objects.filter(verb="device.tags").latest("pk")
    assert event.detail == {"added": [], "removed": ["hamburg", "web"]}
    assert not set_tags(ADA, device, [])


TAGS = st.sets(st.sampled_from(["a", "b", "c"]))


class TestSelection(TestCase):
    @settings(max_examples=25, deadline=None)
    @given(st.lists(st.tuples(TAGS, TAGS, st.booleans()), min_size=1, max_size=4), TAGS, st.booleans())
    def test_it_is_what_it_says_after_any_changes(
        self, devices: list[tuple[set[str], set[str], bool]], wanted: set[str], needs_all: bool
    ) -> None:
        made = [make_device(f"d{number}") for number in range(len(devices))]
        for device, (tags, _, _) in zip(made, devices, strict=True):
            set_tags(ADA, device, tags)
        policy = save(None, made[:1], sorted(wanted), needs_all=needs_all)
        for device, (_, tags, is_retired) in zip(made, devices, strict=True):
            set_tags(ADA, device, tags)
            retire_device(ADA, device, is_retired=is_retired, now=NOW)
        refresh_devices(NOW)
        fits = all if needs_all else any
        expected = {
            device.name
            for device, (_, tags, is_retired) in zip(made, devices, strict=True)
            if wanted and not is_retired and fits(tag in tags for tag in wanted)
        }
        assert set(covered(policy)) == expected | {"d0"}
        assert refresh_policy(policy, NOW) == set()
