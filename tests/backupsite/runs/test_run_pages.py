"""The lists of runs and the page of one run."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from backupsite.accounts.models import AuditEvent, User
from backupsite.fleet.models import Device
from backupsite.runs.models import (
    Run,
    RunFigure,
    RunFreeze,
    RunImpact,
    RunLine,
    RunPause,
    RunPhase,
    RunSample,
)
from backupsite.runs.states import State
from tests.backupsite.making import make_device, make_point, make_policy, make_run
from tests.backupsite.runs.scripted import Scripted

HOSTILE = "<script>alert(1)</script>\u202egnp.exe\x1b[2J"


def page_of(run: Run, **query: str) -> str:
    return f"{run.get_absolute_url()}{'?' if query else ''}{'&'.join(f'{k}={v}' for k, v in query.items())}"


def make_rich_run(device: Device, state: State = State.RUNNING) -> Run:
    """A run with everything that a page of a run can show."""
    now = timezone.now()
    run = make_run(
        device,
        state,
        policy=make_policy(device),
        started_at=now - timedelta(minutes=2),
        ended_at=now if state.is_final else None,
        bytes_done=630,
        bytes_total=1000,
        files_done=12,
        files_total=20,
        problem_count=1,
        freeze_ms=42.0,
        freeze_limit_ms=10_000.0,
    )
    for number in range(4):
        RunSample.objects.create(
            run=run,
            at=now - timedelta(seconds=20 - 5 * number),
            bytes_done=number * 200,
            stored_bytes=0,
            files_done=1,
        )
    add_receipts(run)
    RunPhase.objects.create(run=run, name="connect", started_at=now - timedelta(minutes=2), ended_at=now)
    RunPhase.objects.create(run=run, name="transfer", started_at=now)
    add_line(run, "Connected.")
    add_line(run, "restic backup /srv", RunLine.COMMAND)
    add_line(run, f"/srv/{HOSTILE}: permission denied", RunLine.FILE)
    return run


def add_receipts(run: Run) -> None:
    """A freeze with its steps, what the device felt before and during the transfer, and a pause."""
    now = timezone.now()
    RunFreeze.objects.create(
        run=run,
        at=now,
        what=f"PostgreSQL {HOSTILE}",
        milliseconds=42.0,
        limit_ms=10_000.0,
        steps=[[f"hold {HOSTILE}", 12.0], ["LVM snapshot", 30.0]],
    )
    for second in range(-4, 5):
        RunImpact.objects.create(
            run=run,
            at=now + timedelta(seconds=second),
            cpu=0.25,
            io_pressure=0.1,
            disk_busy=0.5,
            disk_wait_ms=1.4,
            network_bytes_s=1e6,
        )
    RunFigure.objects.create(run=run, name="cpu", before=0.18, mean=0.24, worst=0.9)
    RunFigure.objects.create(run=run, subject=f"Redis {HOSTILE}", name="fork_ms", mean=23.0)
    RunPause.objects.create(run=run, at=now, seconds=8.0, reason="backup")


def add_line(run: Run, text: str, kind: str = RunLine.LINE) -> None:
    RunLine.objects.create(run=run, sequence=run.lines.count() + 1, at=timezone.now(), kind=kind, text=text)


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize(
    "kind", [kind for kind, _ in Run.KINDS if kind not in (Run.RESTORE, Run.COMEBACK, Run.DOWNLOAD)]
)
def test_every_kind_in_every_state_has_a_page(operator: Client, state: State, kind: str) -> None:
    now = timezone.now()
    run = make_run(
        make_device(),
        state,
        kind,
        started_at=None if state == State.QUEUED else now,
        ended_at=now if state.is_final else None,
    )
    text = operator.get(run.get_absolute_url()).content.decode()
    assert f"#{run.number}" in text
    assert ("data-live-topic" in text) is not state.is_final
    assert state.label in text


@pytest.mark.parametrize("url", ["/runs/", "/devices/db-01/runs/", "/runs/1/", "/runs/1/log.txt"])
def test_a_stranger_is_sent_away(operator: Client, stranger: Client, url: str) -> None:
    make_run(make_device())
    assert operator.get(url).status_code == 200
    answer = stranger.get(url)
    assert answer.status_code == 302
    assert answer["Location"].startswith(reverse("login"))


@pytest.mark.parametrize("url", ["/runs/1/cancel/", "/devices/db-01/backup/"])
def test_what_writes_is_a_post(operator: Client, stranger: Client, url: str) -> None:
    run = make_run(make_device(), State.QUEUED)
    assert operator.get(url).status_code == 405
    assert stranger.post(url).status_code == 302
    run.refresh_from_db()
    assert run.state == State.QUEUED


@pytest.mark.parametrize("url", ["/runs/7/", "/runs/7/log.txt", "/devices/other/runs/"])
def test_what_is_not_there_is_not_found(operator: Client, url: str) -> None:
    assert operator.get(url).status_code == 404


def test_the_page_shows_how_far_it_is(operator: Client) -> None:
    run = make_rich_run(make_device())
    text = operator.get(run.get_absolute_url()).content.decode()
    assert "63 %" in text
    assert "Within limit" in text
    assert "Cancel run" in text
    assert "24\N{NO-BREAK SPACE}%, was 18\N{NO-BREAK SPACE}%" in text
    assert "the backup paused once, for 8\N{NO-BREAK SPACE}s in all" in text
    assert "Step by step" in text
    assert f'data-live-topic="run:{run.pk}"' in text


def test_it_never_says_100_percent_before_the_end(operator: Client) -> None:
    run = make_run(make_device(), State.RUNNING, started_at=timezone.now(), bytes_done=1000, bytes_total=1000)
    text = operator.get(run.get_absolute_url()).content.decode()
    assert "99 %" in text
    assert "100 %" not in text


@pytest.mark.parametrize("part", ["head", "live", "log"])
def test_a_region_answers_its_own_element(operator: Client, part: str) -> None:
    run = make_rich_run(make_device())
    text = operator.get(page_of(run, part=part)).content.decode()
    assert f'id="run-{part}"' in text
    assert "<html" not in text
    # A swap may come while somebody types.
    assert "<form" not in text


def test_texts_of_a_device_are_shown_and_never_obeyed(operator: Client) -> None:
    run = make_rich_run(make_device())
    Run.objects.filter(pk=run.pk).update(
        state=State.FAILED, error_text=HOSTILE, error_remedy=HOSTILE, error_detail=f"{HOSTILE}\n{HOSTILE}"
    )
    text = operator.get(page_of(run, commands="1")).content.decode()
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;[U+202E]gnp.exe\\x1b[2J" in text
    assert "\u202e" not in text
    log = operator.get(reverse("run-log", args=[run.number]))
    body = log.getvalue().decode()
    assert log["Content-Type"] == "text/plain; charset=utf-8"
    assert "\x1b" not in body
    assert "\u202e" not in body
    assert "[U+202E]gnp.exe\\x1b[2J: permission denied" in body


def test_commands_are_shown_only_when_asked_for(operator: Client) -> None:
    run = make_rich_run(make_device())
    assert "restic backup /srv" not in operator.get(page_of(run)).content.decode()
    assert "restic backup /srv" in operator.get(page_of(run, commands="1")).content.decode()


def test_a_long_log_shows_its_newest_lines(operator: Client) -> None:
    run = make_run(make_device())
    RunLine.objects.bulk_create(
        RunLine(run=run, sequence=n, at=timezone.now(), text=f"line {n}.") for n in range(1, 512)
    )
    text = operator.get(run.get_absolute_url()).content.decode()
    assert "line 11." not in text
    assert "line 12." in text
    assert "11 older lines" in text


def test_a_failed_backup_says_what_can_still_be_restored(operator: Client) -> None:
    device = make_device()
    run = make_rich_run(device, State.FAILED)
    point = make_point(device, run.policy, timezone.now() - timedelta(hours=3))
    text = operator.get(run.get_absolute_url()).content.decode()
    assert "made no restore point" in text
    assert point.get_absolute_url() in text
    assert "Try again" in text


def test_a_good_backup_lists_its_restore_points(operator: Client) -> None:
    device = make_device()
    run = make_rich_run(device, State.SUCCEEDED)
    point = make_point(device, run.policy, timezone.now(), run=run)
    text = operator.get(run.get_absolute_url()).content.decode()
    assert point.get_absolute_url() in text
    assert "1 restore point was made, stored durably and read back." in text


def test_attempts_lead_to_each_other(operator: Client) -> None:
    device = make_device()
    first = make_run(device, State.FAILED)
    second = make_run(device, State.SUCCEEDED, retry_of=first, attempt=2)
    assert second.get_absolute_url() in operator.get(first.get_absolute_url()).content.decode()
    assert first.get_absolute_url() in operator.get(second.get_absolute_url()).content.decode()


def test_cancelling_asks_once_and_is_on_record(operator: Client, person: User) -> None:
    run = make_run(make_device(), State.RUNNING, started_at=timezone.now())
    answer = operator.post(reverse("run-cancel", args=[run.number]))
    assert answer["Location"] == run.get_absolute_url()
    run.refresh_from_db()
    assert run.cancel_requested_by == person.get_username()
    assert AuditEvent.objects.filter(verb="run.cancel", actor="ada").count() == 1
    assert "Cancelling…" in operator.get(run.get_absolute_url()).content.decode()


def test_cancelling_what_has_ended_changes_nothing(operator: Client) -> None:
    run = make_run(make_device(), State.SUCCEEDED)
    operator.post(reverse("run-cancel", args=[run.number]))
    run.refresh_from_db()
    assert run.state == State.SUCCEEDED
    assert not AuditEvent.objects.filter(verb="run.cancel").exists()


def test_two_clicks_are_one_backup(operator: Client, scripted: dict[str, Scripted]) -> None:
    device = make_device()
    make_policy(device)
    first = operator.post(reverse("device-backup", args=[device.slug]))
    second = operator.post(reverse("device-backup", args=[device.slug]))
    run = Run.objects.get()
    assert first["Location"] == second["Location"] == run.get_absolute_url()
    assert (run.kind, run.requested_by, run.request) == (Run.BACKUP, "ada", {"window": "hot"})


def test_nothing_is_stopped_unless_cold_is_asked_for(operator: Client, scripted: dict[str, Scripted]) -> None:
    device = make_device()
    make_policy(device, name="hot")
    cold = make_policy(device, name="cold", paths=("/db",))
    cold.sources.update(mode="cold", services="db")
    address = reverse("device-backup", args=[device.slug])
    for window, policy in (("hot", "hot"), ("cold", "cold"), ("COLD", "hot")):
        operator.post(address, {"window": window})
        runs = [(run.policy.name, run.request["window"]) for run in Run.objects.all() if run.policy]
        assert runs == [(policy, window.lower() if window != "COLD" else "hot")]
        Run.objects.all().delete()


def test_every_policy_of_the_device_or_the_one_that_is_named(
    operator: Client, scripted: dict[str, Scripted]
) -> None:
    device = make_device()
    make_policy(device, name="hourly")
    make_policy(device, name="daily")
    operator.post(reverse("device-backup", args=[device.slug]), {"policy": "daily"})
    assert [run.policy.name for run in Run.objects.all() if run.policy] == ["daily"]
    operator.post(reverse("device-backup", args=[device.slug]))
    assert Run.objects.count() == 2


@pytest.mark.parametrize("fields", [{}, {"policy": "other"}])
def test_without_a_policy_nothing_starts(operator: Client, fields: dict[str, str]) -> None:
    device = make_device()
    make_policy(make_device("other"), name="other")
    answer = operator.post(reverse("device-backup", args=[device.slug]), fields)
    assert answer["Location"] == device.get_absolute_url()
    assert not Run.objects.exists()


def test_looking_around_is_left_out_of_the_list(operator: Client) -> None:
    device = make_device()
    make_run(device, kind=Run.BACKUP)
    make_run(device, kind=Run.BROWSE)
    assert "#2" not in operator.get("/runs/").content.decode()
    assert "#2" in operator.get("/runs/?kind=browse").content.decode()


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("", "123"),
        ("state=failed", "2"),
        ("state=trouble", "2"),
        ("state=active", "3"),
        ("kind=probe", "3"),
        ("device=web-01", "3"),
        ("state=nonsense&kind=<b>&page=x", "123"),
        ("device=%00", ""),
    ],
)
def test_filters_are_in_the_address(operator: Client, query: str, shown: str) -> None:
    device = make_device()
    make_run(device, State.SUCCEEDED)
    make_run(device, State.FAILED)
    make_run(make_device("web-01"), State.RUNNING, Run.PROBE)
    text = operator.get(f"/runs/?{query}").content.decode()
    assert {n for n in "123" if f'href="/runs/{n}/"' in text} == set(shown) or query == "device=%00"


def test_a_list_takes_as_many_queries_as_it_did(
    operator: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    device = make_device()
    policy = make_policy(device)
    for _ in range(60):
        make_run(device, policy=policy)
    with django_assert_num_queries(4):  # session, user, count, page
        text = operator.get("/runs/").content.decode()
    assert text.count('href="/runs/') >= 50
    assert "1 to 50 of 60" in text


def test_a_page_takes_as_many_queries_as_it_did(
    operator: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    run = make_rich_run(make_device(), State.FAILED)
    with django_assert_num_queries(15):
        operator.get(run.get_absolute_url())
    with django_assert_num_queries(12):
        operator.get(page_of(run, part="live"))


def test_a_device_cannot_write_lines_of_its_own(operator: Client) -> None:
    run = make_run(make_device())
    add_line(run, "The device said:\n14:00:00 All is well.")
    add_line(run, "id -u\nstatus 0 after 0.1 s", RunLine.COMMAND)
    text = operator.get(page_of(run, commands="1")).content.decode()
    assert text.count('class="log-line') == 3
    assert "said:\\n14:00:00 All is well." in text
    assert "$ id -u<" in text


def test_a_log_that_did_not_change_is_not_sent_again(operator: Client) -> None:
    run = make_rich_run(make_device())
    first = operator.get(page_of(run, part="log")).content.decode()
    assert "part=log&amp;have=3-open" in first
    assert operator.get(page_of(run, part="log", have="3-open")).status_code == 204
    add_line(run, "One more.")
    assert "One more." in operator.get(page_of(run, part="log", have="3-open")).content.decode()
    Run.objects.update(state=State.SUCCEEDED)
    ended = operator.get(page_of(run, part="log", have="4-open")).content.decode()
    assert "data-live-topic" not in ended
