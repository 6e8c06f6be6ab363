"""Second copies in the form of a policy."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client

from backupsite.policies.durations import show_duration
from backupsite.policies.models import Policy
from backupsite.repositories.models import Node, Storage
from tests.backupsite.making import make_device, make_policy, source_fields

pytestmark = pytest.mark.django_db


@pytest.fixture
def storages() -> list[Storage]:
    node = Node.objects.create(slug="console", name="Console")
    return [Storage.objects.create(node=node, name=name, path=f"/srv/{name}") for name in ("one", "two")]


def typed(policy: Policy, **fields: object) -> dict[str, object]:
    """What a browser posts for the whole form."""
    return {
        "name": policy.name, "devices": [each.pk for each in policy.devices.all()], "when": "60",
        "weekday": "6", "time_zone": "UTC", "rpo": "2 h", "sources-TOTAL_FORMS": "1",
        "sources-INITIAL_FORMS": "0", "cold_when": "weekly", "cold_weekday": "6", "then": "save",
        **source_fields(), **fields,
    }  # fmt: skip


def test_a_policy_names_another_storage_for_its_second_copies(
    operator: Client, storages: list[Storage]
) -> None:
    policy = make_policy(make_device())
    text = operator.get(policy.get_absolute_url()).content.decode()
    assert "Second copy on" in text
    posted = typed(policy, has_copy="1", copy_storage=storages[1].pk, copy_keep="30 d")
    assert operator.post(policy.get_absolute_url(), posted).status_code == 302
    policy.refresh_from_db()
    assert policy.copy_storage == storages[1] and policy.copy_keep == timedelta(days=30)
    assert (
        f'value="{show_duration(timedelta(days=30))}"'
        in operator.get(policy.get_absolute_url()).content.decode()
    )
    # A page without this part changes nothing of it.
    assert operator.post(policy.get_absolute_url(), typed(policy)).status_code == 302
    policy.refresh_from_db()
    assert policy.copy_storage == storages[1]


def test_what_cannot_be_meant_is_said_at_the_field(operator: Client, storages: list[Storage]) -> None:
    policy = make_policy(make_device())
    for keep, said in (("2 min", "between 1 d and 3660 d"), ("soon", "Write")):
        posted = typed(policy, has_copy="1", copy_storage=storages[1].pk, copy_keep=keep)
        answer = operator.post(policy.get_absolute_url(), posted)
        assert answer.status_code == 422 and said in answer.content.decode()


def test_with_one_storage_there_is_nothing_to_choose(operator: Client, storages: list[Storage]) -> None:
    storages[1].delete()
    policy = make_policy(make_device())
    assert "Second copy on" not in operator.get(policy.get_absolute_url()).content.decode()
