"""Policies as a file and back: nothing is lost, nothing is guessed, every mistake has its line."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backupsite.policies.document import FIELD_NAMES, Hours, PolicyState, make_default, make_plain
from backupsite.policies.document_changes import compare
from backupsite.policies.document_reading import Known, Reading, read_policies
from backupsite.policies.document_rows import SOURCE_NAMES
from backupsite.policies.document_text import write_policies
from backupsite.policies.models import Policy, Source

NOW = datetime(2026, 11, 23, tzinfo=UTC)
SMALL = """\
policies:
- name: web
  every: 1 h
  sources:
  - path: /etc
"""


def check_tag(text: str) -> str:
    return text


def read(text: str | bytes, *present: PolicyState, devices: tuple[str, ...] = ("web-1", "web-2")) -> Reading:
    there = {state.name.lower(): state for state in present}
    data = text.encode() if isinstance(text, str) else text
    return read_policies(data, Known(there.get, set(devices), check_tag, NOW, {"vault", "no"}))


def problems(text: str | bytes, *present: PolicyState) -> list[tuple[int, str]]:
    return [(each.line, each.sentence) for each in read(text, *present).problems]


def only_problem(text: str | bytes) -> tuple[int, str]:
    (problem,) = problems(text)
    return problem


times = st.builds(time, st.integers(0, 23), st.integers(0, 59))
durations = st.one_of(
    st.builds(lambda n: timedelta(minutes=n), st.integers(5, 4000)),
    st.builds(lambda n: timedelta(hours=n), st.integers(1, 2000)),
    st.builds(lambda n: timedelta(days=n), st.integers(1, 366)),
)
names = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_categories=["C", "Z"]), max_size=20
)
lines = st.lists(
    names.filter(lambda name: name.strip() not in {"", "*", "/", "/*", "**"}), max_size=3, unique=True
)
whens = st.one_of(
    st.builds(lambda n: {"schedule": "every", "every_minutes": n}, st.integers(5, 10080)),
    st.builds(lambda at: {"schedule": "daily", "at_time": at}, times),
    st.builds(
        lambda at, day: {"schedule": "weekly", "at_time": at, "weekday": day}, times, st.integers(0, 6)
    ),
    st.sampled_from([{"schedule": "cron", "cron": "30 2 * * 1-5"}, {"schedule": "manual"}]),
)
windows = st.one_of(
    st.just({"cold_is_enabled": False}),
    st.builds(
        lambda at, day, rpo: {
            "cold_is_enabled": True, "cold_schedule": "weekly", "cold_at_time": at, "cold_weekday": day,
            "cold_rpo": rpo,
        },
        times, st.integers(0, 6), durations,
    ),
)  # fmt: skip


@st.composite
def sources(draw: Any, number: int) -> dict[str, Any]:
    kind = draw(st.sampled_from(["", "postgresql", "command"]))
    is_files = kind == ""
    return {
        "path": f"/srv/{number}/" + draw(st.sampled_from(["no", "02:30", "ü", "a b", "#x: y"]))
        if is_files
        else "",
        "application": kind,
        "instance": "" if is_files else f"{number}/main",
        "command": "pg_dumpall\n  --globals-only # yes" if kind == "command" else "",
        "mode": draw(st.sampled_from(["hot", "out"])),
        "if_hot_impossible": draw(st.sampled_from(["fail", "accept-live"])),
        "keeps_log": False,
        "is_optional": draw(st.booleans()),
        "is_shared": draw(st.booleans()),
        "accepted_problems": draw(st.integers(0, 50)),
        "services": "nginx.service\ncontainer:web" if is_files and draw(st.booleans()) else "",
        "excludes": "\n".join(f"x{each.strip()}" for each in draw(lines)) if is_files else "",
        "method": "" if is_files else draw(st.sampled_from(["", "dump"])),
        "group": draw(st.sampled_from(["", "no", "shop"])),
        "longest_freeze_ms": draw(st.integers(1, 10_000)),
        "longest_downtime_s": draw(st.integers(1, 86_400)),
    }


@st.composite
def states(draw: Any, number: int = 0) -> PolicyState:
    fields = dict(make_default("x").fields)
    fields |= draw(whens) | draw(windows)
    fields |= {
        "is_enabled": draw(st.booleans()),
        "priority": draw(st.sampled_from([0, 1, 2])),
        "time_zone": draw(st.sampled_from(["UTC", "Europe/Berlin"])),
        "spread_minutes": draw(st.none() | st.integers(0, 720)),
        "when_blocked": draw(st.sampled_from([each for each, _ in Policy.WHEN_BLOCKED])),
        "rpo": draw(durations),
        "rto": draw(st.none() | durations),
        "impact": draw(st.sampled_from([each for each, _ in Policy.IMPACTS])),
        "upload_mb_s": draw(st.none() | st.integers(1, 100_000)),
        "needs_all_tags": draw(st.booleans()),
        "keep_min": draw(durations),
        "keep_max": draw(st.none() | st.builds(lambda n: timedelta(days=n), st.integers(400, 4000))),
        "rest": draw(st.builds(lambda n: timedelta(hours=n), st.integers(24, 900))),
        **{f"keep_{each}": draw(st.integers(1, 400)) for each in ("last", "hourly", "daily", "yearly")},
    }
    hours = st.builds(Hours, st.sampled_from(["0123456", "04", "6"]), st.just(time(8)), st.just(time(9)))
    copy_storage = draw(st.sampled_from(["", "vault", "no"]))
    if copy_storage:
        fields["copy_keep"] = draw(st.none() | st.builds(lambda n: timedelta(days=n), st.integers(1, 3660)))
    return PolicyState(
        f"policy {number}",
        fields,
        tuple(sorted(draw(st.sets(st.sampled_from(["web-1", "web-2", "no", "02:30"]))))),
        tuple(sorted(draw(st.sets(st.sampled_from(["web", "yes", "1e3"]))))),
        tuple(sorted(draw(st.sets(hours, max_size=2)))),
        tuple(draw(sources(index)) for index in range(draw(st.integers(1, 3)))),
        copy_storage,
    )


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_what_is_written_is_read_as_the_same(data: Any) -> None:
    written = [data.draw(states(number)) for number in range(data.draw(st.integers(1, 2)))]
    text = write_policies(written)
    devices = ("web-1", "web-2", "no", "02:30")
    for present in ((), written):
        reading = read(text, *present, devices=devices)
        assert not reading.problems, (reading.problems, text)
        assert [make_plain(each) for each in reading.states] == [make_plain(each) for each in written]
        assert write_policies(reading.states) == text


def test_every_field_of_a_policy_is_in_its_file() -> None:
    elsewhere = {"id", "slug", "name", "copy_storage", "created_at", "changed_at"}
    assert {field.name for field in Policy._meta.concrete_fields} == {*FIELD_NAMES, *elsewhere}
    generated = {"id", "policy", "key"}
    assert {field.name for field in Source._meta.concrete_fields} == {*SOURCE_NAMES, *generated}


def test_what_a_file_does_not_say_stays() -> None:
    (before,) = read(SMALL.replace("every: 1 h", "every: 1 h\n  target: 9 h\n  keep: {daily: 3}")).states
    (after,) = read("policies:\n- name: web\n  keep: {weekly: 5}\n", before).states
    assert after.fields["rpo"] == timedelta(hours=9)
    assert (after.fields["keep_daily"], after.fields["keep_weekly"]) == (3, 5)
    assert after.sources == before.sources
    assert compare(before, after, 2).lines == ("keep, weekly: 8 → 5",)


def test_words_that_yaml_would_change_stay_words() -> None:
    text = "policies:\n- name: no\n  daily: 02:30\n  devices: [on, 1.10]\n  sources: [{path: /1}]\n"
    reading = read(text, devices=("on", "1.10"))
    assert not reading.problems
    assert reading.states[0].name == "no"
    assert reading.states[0].fields["at_time"] == time(2, 30)
    assert reading.states[0].devices == ("on", "1.10")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("  evry: 1 h", "There is no “evry” here. Did you mean “every”?"),
        ("  every: 2 h", "“every” stands here twice, first in line 3."),
        ("  daily: 02:30", "One schedule only: “every” or “daily”."),
        ("  target: 1 fortnight", "“target”: Write a whole number and a unit, like 90 min, 26 h or 2 days."),
        ("  target: 1 min", "“target”: The target lies between 5 min and 366 days."),
        ("  target: [1 h]", "“target” is one value; here is a list."),
        (
            "  time zone: Europe/Berlyn",
            "“time zone”: There is no time zone of this name; write one like Europe/Berlin.",
        ),
        ("  enabled: maybe", "“enabled”: Write true or false."),
        ("  impact: brutal", "“impact”: Write one of: gentle, balanced, fast."),
        ("  send at most: 0", "“send at most”: Write a whole number from 1 to 100000."),
        ("  devices: [web-9]", "There is no device “web-9”."),
        ("  devices: [web-1, web-1]", "“web-1” stands twice in “devices”."),
        ("  keep: {dayly: 3}", "There is no “dayly” here. Did you mean “daily”?"),
        ("  keep: {daily: -3}", "“daily”: Write a whole number from 0 to 10000."),
        (
            "  keep: {last: 0, hourly: 0, daily: 0, weekly: 0, monthly: 0, nothing younger than: 0 h}",
            "“keep”: This keeps nothing but the newest restore point of each source.",
        ),
        ("  keep: {nothing older than: 1 h}", "“keep”: The maximum age must be above the minimum age."),
        ("  keep: {rest: 1 h}", "“rest”: Write something between 1 d and 366 days."),
        ("  second copy: {storage: attic}", "There is no storage “attic”."),
        ("  second copy: {keep: 3 days}", "A second copy needs its “storage”."),
        ("  second copy: {storage: vault, keep: 1 h}", "“keep”: Write something between 1 d and 3660 d."),
        ("  keep: 3", "Keys and values are expected here, like last: …."),
        ("  cold window: {target: 8 days}", "“cold window”: say when, like weekly: Sunday 03:00."),
        (
            "  cold window: {cron: 61 3 * * 0}",
            "“cron”: This is not a cron expression; write five fields, like 30 2 * * 1-5.",
        ),
        (
            "  blocked hours: [{days: Mon, from: 8:00, to: 9:00}]",
            "“days”: “Mon” is no day. Write one of: Monday, Tuesday,",
        ),
        ("  blocked hours: [{from: 0:00, to: 0:00}]", "These hours block the whole week"),
        ("  blocked hours: [{days: every day, from: 8:00}]", "Blocked hours need a “to”, like to: 08:00."),
        ("  tags: {web: 1}", "“tags” is a list; here are keys and values."),
        (
            "  impact: !!python/name:os.system x",
            "Tags are not taken: “tag:yaml.org,2002:python/name:os.system”.",
        ),
        ("  tags: &a [x]", "Anchors (&) and aliases (*) are not taken. Write the value out."),
        ("  <<: {x: 1}", "There is no “<<” here."),
    ],
)
def test_every_mistake_has_its_line_and_its_sentence(line: str, sentence: str) -> None:
    lines = SMALL.splitlines()
    text = "\n".join([*lines[:3], line, *lines[3:]])
    at, said = only_problem(text)
    assert (at, said[: len(sentence)]) == (4, sentence)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("{mode: hot}", "Say what it is: a path, or an application and its instance."),
        ("{path: srv}", "“path”: Give the whole path from the root, for example /srv/www."),
        (
            '{path: "/srv\\n/x"}',
            "“path”: The path holds a character that cannot be seen, such as a new line. "
            "Protect the folder above it.",
        ),
        (
            "{path: /proc}",
            "“path”: /proc is made anew at each start of the device: there is nothing to keep.",
        ),
        ("{path: /etc/}", "This is in the policy already. Look at line 5."),
        ("{path: /srv, leave out: ['*']}", "“leave out”: * would leave out everything."),
        ("{path: /srv, leave out: [/srv/*]}", "“leave out”: /srv/* leaves out everything in /srv."),
        ("{path: /srv, instance: x}", "“instance” does not belong to a source of this kind."),
        ("{application: oracle, instance: x}", "There is no application “oracle”; there are: "),
        (
            "{application: postgresql}",
            "“instance”: Say which one, for example 15/main, as the device's page names it.",
        ),
        ("{application: command, instance: x}", "“command”: Give the command whose output is kept."),
        ("{path: /srv, mode: tepid}", "“mode”: Write one of: hot, cold, hot and cold, leave out."),
        (
            "{path: /srv, mode: hot, longest freeze: 1 h}",
            "“longest freeze”: From 1 ms to 10 s: an application that "
            "waits longer has stopped. Take it cold then.",
        ),
        (
            "{path: /srv, mode: hot and cold, services: [nginx.service]}",
            "A “cold window” is needed for /srv.",
        ),
        (
            "{path: /srv, accepted problems: many}",
            "“accepted problems”: Write a whole number from 0 to 1000000.",
        ),
        ("/srv", "Keys and values are expected here, like path: …."),
        ("{path: /srv, path: /home}", "“path” stands here twice, first in line 6."),
    ],
)
def test_a_source_is_checked_like_a_typed_one(source: str, sentence: str) -> None:
    line, said = only_problem(f"{SMALL}  - {source}\n")
    assert said.startswith(sentence)
    assert line == (4 if "cold window" in sentence else 6)


@pytest.mark.parametrize(
    ("data", "line", "begins"),
    [
        (b"", 1, "There is nothing in this file."),
        (b"# nothing\n", 1, "There is nothing in this file."),
        (b"policies: 3", 1, "“policies” is a list"),
        (b"- name: x", 1, "Keys and values are expected here"),
        (b"policies:\n- name: \xe9\n", 2, "This is no UTF-8."),
        (b"\xff\xfep\0", 1, "The file is UTF-16."),
        (b"policies:\n\n- name: a\0b\n", 3, "There is a NUL here"),
        (b"policies:\n- name: a\x07b\n", 2, "There is a character here that YAML does not take."),
        (b"policies:\n- name: [a\n", 3, "This is no YAML"),
        (b"[" * 100_000, 1, "Nested deeper than 16 times."),
        (b"a: &a [x]\nb: [*a, *a]\n", 1, "Anchors (&) and aliases (*) are not taken."),
        (b"x" * (9 * 1024**2), 1, "The file is larger than 8 MiB."),
        (SMALL.encode() + b"---\n" + SMALL.encode(), 6, "A second document begins here."),
        (SMALL.encode() + b"- name: WEB\n", 6, "The policy “WEB” stands in line 2 already."),
    ],
)
def test_what_is_no_file_of_policies_says_so(data: bytes, line: int, begins: str) -> None:
    first = problems(data)[0] if b"WEB" not in data else problems(data)[-1]
    assert first[0] == line
    assert first[1].startswith(begins)


def test_a_new_policy_must_say_what_and_when() -> None:
    said = [sentence for _, sentence in problems("policies:\n- name: web\n")]
    assert said == [
        "A new policy needs its “sources”.",
        "A new policy needs to say when, like every: 1 h, or by hand: true.",
    ]


def test_one_wrong_line_of_a_hundred_thousand_is_found() -> None:
    devices = [f"device-{number}" for number in range(100_000)]
    rows = [f"  - {name}" for name in devices]
    text = "\n".join(
        ["policies:", "- name: web", "  every: 1 h", "  sources: [{path: /etc}]", "  devices:", *rows]
    )
    assert len(read(text, devices=tuple(devices)).states[0].devices) == 100_000
    wrong = text.replace("  - device-49994\n", "  - device-x\n")
    reading = read(wrong, devices=tuple(devices))
    assert [(each.line, each.sentence) for each in reading.problems] == [
        (50_000, "There is no device “device-x”.")
    ]


def test_fifty_problems_are_shown_and_the_others_counted() -> None:
    rows = "".join(f"- name: p{number}\n  wrong{number}: 1\n" for number in range(200))
    reading = read(f"policies:\n{rows}")
    assert len(reading.problems) == 50
    # An unknown key, no sources, no schedule.
    assert reading.problem_count == 600
    assert reading.hidden_count == 550


def test_a_cold_window_in_blocked_hours_says_so() -> None:
    more = "  cold window: {weekly: Sunday 3:00}\n  blocked hours: [{days: Sunday, from: 2:00, to: 9:00}]\n"
    line, sentence = only_problem(SMALL.replace("  sources", f"{more}  sources"))
    assert (line, sentence[:41]) == (5, "The cold window lies in blocked hours tha")


def test_too_many_sources_are_one_sentence() -> None:
    rows = "".join(f"  - path: /srv/{number}\n" for number in range(10_000))
    text = f"policies:\n- name: web\n  every: 1 h\n  sources:\n{rows}"
    assert only_problem(text) == (5, "A policy has 1 to 30 sources; these are 10000.")


def test_a_change_is_said_in_words() -> None:
    (before,) = read(SMALL + "  - path: /srv\n  devices: [web-1]\n").states
    after_text = SMALL.replace("1 h", "4 h").replace("/etc", "/etc\n    mode: leave out")
    (after,) = read(after_text + "  devices: [web-2]\n").states
    assert compare(before, after, 1).lines == (
        "devices added: web-2",
        "devices removed: web-1",
        "every: 1 h → 4 h",
        "source /srv removed: its restore points stay",
        "source /etc, mode: hot → leave out",
    )
    assert not compare(before, before, 1).is_change
    assert after.sources[0]["mode"] == Source.OUT


def test_the_example_of_the_documentation_is_right() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "policy-file.md").read_text()
    example = page.split("```yaml\n")[1].split("```")[0]
    reading = read(example)
    assert not reading.problems
    (state,) = reading.states
    assert [each["path"] or each["instance"] for each in state.sources] == ["/srv/www", "15/main", "globals"]
