"""Values of single devices in a policy file: read, written the same, every mistake with its line."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from backupsite.policies.document import OwnValues, PolicyState, make_plain
from backupsite.policies.document_changes import compare
from backupsite.policies.document_reading import Known, Reading, read_policies
from backupsite.policies.document_text import write_policies
from backupsite.policies.effective import VALUES, apply
from backupsite.policies.models import Policy

SMALL = """\
policies:
- name: web
  every: 1 h
  devices: [web-1, web-2]
  sources:
  - path: /etc
  own values:
  - device: web-2
"""


def read(text: str, *present: PolicyState) -> Reading:
    there = {state.name.lower(): state for state in present}
    known = Known(
        there.get, {"web-1", "web-2", "db-1"}, lambda tag: tag, datetime(2026, 11, 23, tzinfo=UTC), set()
    )
    return read_policies(text.encode(), known)


def own(*lines: str) -> str:
    return SMALL + "".join(f"    {line}\n" for line in lines)


def test_each_value_is_read_and_written_as_the_same() -> None:
    text = own(
        "daily: 03:00", "target: 30 h", "restore within: 2 h", "impact: balanced", "send at most: 5 MB/s",
        "priority: before others", "keep: {daily: 30, weekly: 0}",
    )  # fmt: skip
    reading = read(text)
    assert not reading.problems, reading.problems
    (state,) = reading.states
    (found,) = state.own
    assert found.device == "web-2" and set(found.values) == set(VALUES)
    held = apply(Policy(name="web", **state.fields), found.values)
    assert (held.schedule, held.keep_daily, held.keep_weekly, held.upload_mb_s) == ("daily", 30, 0, 5)
    # What its own rules do not say is the policy's.
    assert held.keep_monthly == state.fields["keep_monthly"]
    written = write_policies([state])
    again = read(written, state)
    assert not again.problems and make_plain(again.states[0]) == make_plain(state)
    assert write_policies(again.states) == written


def test_what_a_file_does_not_say_stays_and_an_empty_list_is_none() -> None:
    (before,) = read(own("target: 30 h")).states
    assert read("policies:\n- name: web\n", before).states[0].own == before.own
    assert read("policies:\n- name: web\n  own values: []\n", before).states[0].own == ()
    assert read("policies:\n- name: web\n  devices: [web-1]\n", before).states[0].own == ()
    (after,) = read(
        "policies:\n- name: web\n  own values:\n  - {device: web-1, target: 9 h}\n", before
    ).states
    assert after.own == (OwnValues("web-1", {"rpo": "9 h"}),)
    assert compare(before, after, 2).lines == (
        "own values added: device web-1, target 9 h",
        "own values removed: device web-2, target 30 h",
    )


@pytest.mark.parametrize(
    ("text", "line", "begins"),
    [
        (own(), 8, "Say which value is the device's own"),
        (own("target: soon"), 9, "“target”"),
        (own("colour: red"), 9, "There is no “colour” here."),
        (own("rest: 3 days"), 9, "There is no “rest” here."),
        (own("keep: {daily: -1}"), 9, "“daily”"),
        (own("keep: {rest: 3 days}"), 9, "There is no “rest” here."),
        (
            own("keep: {last: 0, hourly: 0, daily: 0, weekly: 0, monthly: 0, nothing younger than: 0 h}"),
            9,
            "“keep”: ",
        ),
        (own("daily: 03:00", "every: 2 h"), 9, "One schedule only: “every” or “daily”."),
        (own("daily: 25:00"), 9, "“daily”"),
        (own("target: 9 h").replace("device: web-2", "device: db-1"), 8, "“db-1” is none of the devices"),
        (own("target: 9 h").replace("device: web-2", "device: x"), 8, "There is no device “x”."),
        (own("target: 9 h").replace("device: web-2", "impact: fast"), 8, "Own values need their “device”."),
        (own("target: 9 h") + "  - {device: web-2, target: 8 h}\n", 10, "“web-2” has own values in line 8"),
        (SMALL.replace("  - device: web-2\n", "    web-2: {target: 1 h}\n"), 8, "“own values” is a list"),
    ],
)
def test_every_mistake_has_its_line_and_its_sentence(text: str, line: int, begins: str) -> None:
    problems = read(text).problems
    assert [(each.line, each.sentence[: len(begins)]) for each in problems] == [(line, begins)], problems
