"""The section of blocked hours on a policy's form, and what the form says about when runs start."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from backupsite.policies.blocked import EVERY_DAY, Blocked
from backupsite.policies.models import BlockedHours, Policy
from backupsite.policies.planning import Planner
from backupsite.policies.schedule import Schedule
from backupsite.policies.upcoming import list_upcoming
from backupsite.recovery.drill_models import Drill
from tests.backupsite.console.test_policy_pages import GOOD
from tests.backupsite.making import make_device, source_fields

pytestmark = pytest.mark.django_db
BOTH = source_fields(mode="both", services="cron.service")
COLD = source_fields(mode="cold", services="cron.service")


def row(number: int, begins: str, ends: str, days: str = "01234") -> dict[str, Any]:
    return {
        f"blocked-{number}-begins": begins,
        f"blocked-{number}-ends": ends,
        f"blocked-{number}-weekdays": list(days),
    }


def typed(*rows: dict[str, Any], **fields: Any) -> dict[str, Any]:
    posted: dict[str, Any] = {**GOOD, "blocked-TOTAL_FORMS": str(len(rows)), "priority": "1"}
    for each in rows:
        posted |= each
    return posted | fields


def test_blocked_hours_are_saved_and_move_what_is_due(operator: Client) -> None:
    posted = typed(
        row(0, "00:00", "23:30", EVERY_DAY),
        when_blocked="stop",
        spread_minutes="0",
        priority="0",
        rto="4 h",
        devices=[make_device().pk],
    )
    answer = operator.post("/policies/new/", posted)
    assert answer.status_code == 302, answer.content.decode()
    policy = Policy.objects.get()
    assert (policy.when_blocked, policy.spread_minutes, policy.priority) == ("stop", 0, 0)
    assert policy.rto == timedelta(hours=4)
    stored = policy.blocked_hours.get()
    assert (stored.weekdays, stored.begins, stored.ends) == (EVERY_DAY, time(0), time(23, 30))
    due = policy.assignments.get().next_due
    assert due is not None
    assert not Blocked.of(policy).is_blocked(due)


def test_a_form_shows_what_is_stored_and_saving_it_changes_nothing(operator: Client) -> None:
    operator.post("/policies/new/", typed(row(0, "08:00", "18:00"), row(1, "22:00", "6:00", "5")))
    policy = Policy.objects.get()
    rows = set(BlockedHours.objects.values_list("pk", flat=True))
    page = operator.get(policy.get_absolute_url()).content.decode()
    assert 'value="08:00"' in page
    assert "Monday to Friday, 08:00 to 18:00; Saturday, 22:00 to 06:00 of the next day" in page
    operator.post(policy.get_absolute_url(), typed(row(0, "08:00", "18:00"), row(1, "22:00", "06:00", "5")))
    assert set(BlockedHours.objects.values_list("pk", flat=True)) == rows


def test_a_page_without_the_section_leaves_it_as_it_is(operator: Client) -> None:
    operator.post("/policies/new/", typed(row(0, "08:00", "18:00"), when_blocked="pause", rto="2 h"))
    policy = Policy.objects.get()
    operator.post(policy.get_absolute_url(), GOOD)
    policy.refresh_from_db()
    assert policy.blocked_hours.count() == 1
    assert (policy.when_blocked, policy.rto) == ("pause", timedelta(hours=2))
    operator.post(policy.get_absolute_url(), typed())
    assert policy.blocked_hours.count() == 0


def test_rows_are_added_and_removed_without_script(operator: Client) -> None:
    more = operator.post("/policies/new/", typed(row(0, "07:15", "09:00"), add_blocked="1"))
    page = more.content.decode()
    assert more.status_code == 200
    assert 'name="blocked-1-begins"' in page
    assert 'value="07:15"' in page
    assert 'name="sources-0-path"' in page
    fewer = operator.post(
        "/policies/new/", typed(row(0, "07:15", "09:00"), row(1, "10:00", "11:00"), remove_blocked="0")
    ).content.decode()
    assert 'value="10:00"' in fewer
    assert 'value="07:15"' not in fewer
    assert not Policy.objects.exists()


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([row(0, "25:00", "18:00")], "Write the time like 02:00 or 23:30."),
        ([row(0, "08:00", "")], "Write the time like 02:00 or 23:30."),
        ([row(0, "08:00", "18:00", "")], "Choose a day at least, or remove these hours."),
        ([row(0, "08:00", "18:00", "9")], "Select a valid choice"),
        ([row(0, "00:00", "00:00", EVERY_DAY)], "These hours block the whole week"),
        ([row(0, "06:00", "18:00", EVERY_DAY), row(1, "18:00", "06:00", EVERY_DAY)], "block the whole week"),
    ],
)
def test_hours_that_cannot_be_are_refused_at_their_field(
    operator: Client, rows: list[dict[str, Any]], words: str
) -> None:
    answer = operator.post("/policies/new/", typed(*rows))
    page = answer.content.decode()
    assert answer.status_code == 422
    assert words in page.split('id="policy-blocked"')[1]
    assert not Policy.objects.exists()


def test_a_cold_window_in_blocked_hours_is_refused_at_the_window(operator: Client) -> None:
    window = {
        "cold_is_enabled": "on", "cold_when": "daily", "cold_at_time": "03:00", "cold_weekday": "6",
        "cold_cron": "", "cold_rpo": "8 days",
    }  # fmt: skip
    blocked = row(0, "00:00", "06:00", EVERY_DAY)
    answer = operator.post("/policies/new/", typed(blocked, **window, **BOTH))
    assert answer.status_code == 422
    assert "nothing would ever be copied cold" in answer.content.decode().split('id="policy-window"')[1]
    all_cold = typed(blocked, **COLD, when="daily", at_time="03:00")
    refused = operator.post("/policies/new/", all_cold)
    assert refused.status_code == 422
    assert "nothing would ever be copied cold" in refused.content.decode().split('id="policy-when"')[1]
    assert operator.post("/policies/new/", all_cold | {"at_time": "05:00"}).status_code == 302


def test_the_preview_counts_the_blocked_hours(operator: Client) -> None:
    page = operator.post("/policies/preview/", typed(row(0, "08:00", "18:00", EVERY_DAY), rpo="3 h")).content
    text = page.decode()
    assert "Blocked: every day, 08:00 to 18:00." in text
    assert "cannot be kept" in text


def test_the_next_runs_say_what_moves_them() -> None:
    daily = Schedule("daily", at_time=time(2, 30), time_zone="Europe/Berlin")
    free = Planner(daily, Blocked((), "Europe/Berlin"))
    spring = list_upcoming(free, datetime(2026, 3, 27, 12, tzinfo=UTC), 3)
    assert [each.shown for each in spring] == [
        "Sat 28 Mar, 02:30 CET", "Sun 29 Mar, 03:30 CEST", "Mon 30 Mar, 02:30 CEST",
    ]  # fmt: skip
    assert [each.notes for each in spring] == [
        (),
        ("The clocks go forward on 29 March and skip 02:30: this run comes at 03:30.",),
        (),
    ]
    autumn = list_upcoming(free, datetime(2026, 10, 24, 12, tzinfo=UTC), 1)
    assert autumn[0].notes == ("The clocks go back on 25 October: 02:30 comes twice, this is the first.",)
    weekly = Planner(
        Schedule("weekly", at_time=time(9), weekday=0, time_zone="Europe/Berlin"),
        Blocked((("0", time(8), time(18)),), "Europe/Berlin"),
    )
    after = list_upcoming(weekly, datetime(2026, 10, 20, tzinfo=UTC), 1)
    assert after[0].notes == (
        "The clocks go back on 25 October.",
        "09:00 is blocked: it starts when these hours are over.",
    )


def test_the_target_of_a_restore_is_compared_with_what_drills_measured(operator: Client) -> None:
    posted = typed(rto="10 min", devices=[make_device().pk])
    operator.post("/policies/new/", posted)
    policy = Policy.objects.get()
    page = operator.get(policy.get_absolute_url()).content.decode()
    assert "no drill of this policy has measured one yet" in page
    now = timezone.now()
    for source, seconds, hours in (("/etc", 9000, 5), ("/etc", 120, 1), ("/srv", 720, 2)):
        at = now - timedelta(hours=hours)
        Drill.objects.create(
            device=policy.devices.get(), policy=policy, source=source, made_at=at, at=at,
            result=Drill.PASSED, total_s=seconds,
        )  # fmt: skip
    page = operator.get(policy.get_absolute_url()).content.decode()
    assert "was missed.</strong> The last drill of /srv took 12\u00a0min" in page
    kept = operator.post("/policies/preview/", {**posted, "rto": "15 min", "policy": policy.slug})
    assert "the last drill of /srv took 12\u00a0min" in kept.content.decode()
