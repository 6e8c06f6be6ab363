"""What a policy's form knows of the runs so far."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from backupsite.console.policy_reading import usual_duration
from backupsite.runs.states import State
from tests.backupsite.making import make_device, make_policy, make_run

pytestmark = pytest.mark.django_db


def test_a_run_usually_takes_as_long_as_the_newest_good_one_of_each_device(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    now, devices = timezone.now(), [make_device(f"db-{n}") for n in range(3)]
    policy, other = make_policy(*devices), make_policy(devices[0], name="other")
    assert usual_duration(None) is None and usual_duration(policy) is None
    for device, minutes, state, owner in (
        (devices[0], 300, State.SUCCEEDED, policy),
        (devices[0], 10, State.SUCCEEDED, policy),
        (devices[0], 99, State.FAILED, policy),
        (devices[0], 77, State.SUCCEEDED, other),
        (devices[1], 20, State.WARNINGS, policy),
    ):
        make_run(device, state, policy=owner, started_at=now, ended_at=now + timedelta(minutes=minutes))
    with django_assert_num_queries(1):
        assert usual_duration(policy) == timedelta(minutes=15)
