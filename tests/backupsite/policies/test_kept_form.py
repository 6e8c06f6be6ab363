"""How long restore points stay, chosen with a new policy."""

from __future__ import annotations

import pytest
from django.test import Client

from backupsite.policies.kept_form import PRESETS, USUAL, rules_of
from backupsite.policies.models import Policy
from backupsite.policies.retention import Rules
from tests.backupsite.making import make_device, make_policy, source_fields


def test_presets_are_rules_and_the_usual_one_is_what_a_policy_has_anyway() -> None:
    for preset in PRESETS:
        Rules.of(Policy(**rules_of(preset))).check()
    assert Rules.of(Policy(**rules_of(USUAL))) == Rules.of(Policy())


@pytest.mark.django_db
@pytest.mark.parametrize(("kept", "yearly"), [("long", 10), ("short", 0), (None, 0)])
def test_a_new_policy_has_what_was_chosen_and_a_change_leaves_it(
    operator: Client, kept: str | None, yearly: int
) -> None:
    device = make_device("db-01")
    assert "Restore points stay for about" in operator.get("/policies/new/").content.decode()
    typed = {
        "name": "nightly", "devices": str(device.pk), "when": "60", "time_zone": "UTC", "rpo": "2 h",
        "is_enabled": "on", "then": "save", "weekday": "6",
        "sources-TOTAL_FORMS": "1", "sources-INITIAL_FORMS": "0",
        **source_fields(),
    }  # fmt: skip
    answer = operator.post("/policies/new/", typed | ({"kept": kept} if kept else {}))
    assert answer.status_code == 302
    policy = Policy.objects.get()
    assert {name: getattr(policy, name) for name in rules_of(USUAL)} == rules_of(kept or USUAL)
    assert policy.keep_yearly == yearly
    operator.post(policy.get_absolute_url(), typed | {"kept": "usual"})
    policy.refresh_from_db()
    assert policy.keep_yearly == yearly


@pytest.mark.django_db
def test_a_policy_says_what_stays_and_where_that_is_changed(operator: Client) -> None:
    policy = make_policy(make_device("db-01"))
    text = operator.get(policy.get_absolute_url()).content.decode()
    assert "the last 4, 24 hourly, 14 daily, 8 weekly, 12 monthly; nothing younger than 2 days goes" in text
    assert f"/policies/{policy.slug}/retention/" in text
