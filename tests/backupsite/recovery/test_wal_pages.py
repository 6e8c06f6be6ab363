"""Any moment on pages: the card of a device, and the moment of a comeback."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from agents.wal.words import Batch, Piece, Tick
from backupsite.accounts.models import AuditEvent
from backupsite.policies.models import Policy
from backupsite.recovery.comeback_moment import choose, find_nearest, read_moment
from backupsite.recovery.models import RestorePoint
from backupsite.recovery.wal import reach
from backupsite.recovery.wal.keeping import keep_batch, read_batches
from backupsite.recovery.wal.reach import Reach, find_reach
from backupsite.recovery.wal.replays import read_replay
from backupsite.recovery.wal_models import WalGap, WalStream
from backupsite.repositories.models import Repository
from backupsite.runs.models import Run
from tests.backupsite.making import make_point, make_policy, repository_of
from tests.backupsite.recovery.test_restore_applications import make_answer, make_stream, page_of

pytestmark = pytest.mark.django_db
SEGMENT = 16 * 1024 * 1024
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def make_piece(start: int, end: int, since: datetime, until: datetime) -> Piece:
    first, last = Tick(since, since, start + 1, start + 1), Tick(until, until, end - 1, end - 1)
    return Piece("one", "7" * 19, 1, SEGMENT, start, end, first, last)


def follow(point: RestorePoint, *pieces: Piece, **fields: object) -> WalStream:
    """The log of the point's PostgreSQL, with these pieces in the repository."""
    now = timezone.now()
    usual = {"state": WalStream.FOLLOWING, "wanted_at": NOON, "heard_at": now, "reached_at": NOON}
    usual |= {"instance": "15/main", "slot": "hotfleet_x", "has_slot": True}
    stream = WalStream.objects.create(device=point.device, **(usual | fields))
    for number, piece in enumerate(pieces):
        size = piece.end - piece.start
        batch = Batch(f"{number}" * 64, piece, "/spool/one", size, NOON)
        keep_batch(stream, repository_of(point.device), batch)
    return stream


def make_base(made_at: datetime = NOON + 10 * MINUTE, *, method: str = "stream") -> RestorePoint:
    """A restore point whose backup took a minute."""
    point = make_stream(method)
    Run.objects.update(started_at=made_at - MINUTE)
    RestorePoint.objects.update(made_at=made_at)
    return RestorePoint.objects.get(pk=point.pk)


def make_reachable(**fields: object) -> tuple[RestorePoint, WalStream]:
    """A base of 12:10 and a log from 12:00 to 12:30."""
    point = make_base()
    first = make_piece(0, SEGMENT, NOON, NOON + 20 * MINUTE)
    second = make_piece(SEGMENT, 2 * SEGMENT, NOON + 20 * MINUTE, NOON + 30 * MINUTE)
    return point, follow(point, first, second, **fields)


def answer(moment: datetime | str, **fields: object) -> dict[str, object]:
    said = moment if isinstance(moment, str) else f"{moment:%Y-%m-%dT%H:%M:%S}"
    return make_answer(**{"services": "postgresql.service", "until": "moment", "moment": said, **fields})


# What is reached.


def test_a_batch_is_stored_as_it_was() -> None:
    piece = make_piece(0, SEGMENT, NOON, NOON + MINUTE)
    bare = Piece("one", "7" * 19, 1, SEGMENT, SEGMENT, 2 * SEGMENT, None, None)
    stream = follow(make_base(), piece, bare)
    assert [batch.piece for batch in read_batches(stream)] == [piece, bare]


def test_a_moment_is_reached_from_the_newest_base_before_it() -> None:
    point, stream = make_reachable()
    found = find_reach(stream)
    assert (found.oldest, found.newest) == (NOON + 10 * MINUTE, NOON + 30 * MINUTE)
    route = found.find(NOON + 25 * MINUTE)
    assert route is not None and route.point == point
    # From 12:09 (the backup began) to 12:20 of the first segment, and half of the second.
    assert 0.9 * SEGMENT < route.log_bytes < 1.2 * SEGMENT
    for moment in (NOON, NOON + 9 * MINUTE, NOON + 31 * MINUTE):
        assert found.find(moment) is None


@pytest.mark.parametrize(
    ("made_at", "method"), [(NOON - 10 * MINUTE, "stream"), (NOON + 10 * MINUTE, "dump")]
)
def test_what_began_before_the_log_and_dumps_are_no_base(made_at: datetime, method: str) -> None:
    point = make_base(made_at, method=method)
    stream = follow(point, make_piece(0, SEGMENT, NOON, NOON + 20 * MINUTE))
    assert find_reach(stream).windows == ()


@pytest.mark.parametrize(
    ("asked", "nearest"),
    [
        (NOON, NOON + 10 * MINUTE),
        (NOON + 15 * MINUTE, NOON + 15 * MINUTE),
        (NOON + timedelta(days=300), NOON + 30 * MINUTE),
        (datetime(1971, 1, 1, tzinfo=UTC), NOON + 10 * MINUTE),
    ],
)
def test_the_nearest_moment_is_one_that_is_reached(asked: datetime, nearest: datetime) -> None:
    _, stream = make_reachable()
    assert find_nearest(find_reach(stream), asked) == nearest


def test_the_nearest_whole_second_lies_inside() -> None:
    point = make_base(NOON + timedelta(seconds=600.7))
    stream = follow(point, make_piece(0, SEGMENT, NOON, NOON + timedelta(seconds=605.2)))
    found = find_reach(stream)
    assert find_nearest(found, NOON) == NOON + timedelta(seconds=601)
    assert find_nearest(found, NOON + 40 * MINUTE) == NOON + timedelta(seconds=605)


FAR = ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"]
NO_MOMENTS = ["", "now", "12:00", "2026-13-01T00:00:00", "9" * 40, "2026-11-22T25:00", "0001-01-01", *FAR]


@pytest.mark.parametrize("text", NO_MOMENTS)
def test_what_is_no_moment_says_so(text: str) -> None:
    _, stream = make_reachable()
    chosen = choose(find_reach(stream), {"until": "moment", "moment": text})
    assert chosen.route is None and chosen.problem


def test_a_browser_leaves_seconds_out_when_there_are_none() -> None:
    assert read_moment("2026-11-22T12:00") == read_moment("2026-11-22 12:00:00") == NOON


# The page of a comeback.


def test_the_page_asks_for_a_moment_where_a_log_leads_there(operator: Client) -> None:
    point = make_base()
    assert "Any moment" not in operator.get(page_of(point)).content.decode()
    WalStream.objects.all().delete()
    follow(
        point,
        make_piece(0, SEGMENT, NOON, NOON + 20 * MINUTE),
    )
    text = operator.get(page_of(point), {"until": "moment", "moment": "2026-11-22T12:15:00"}).content.decode()
    assert 'min="2026-11-22T12:10:00" max="2026-11-22T12:20:00"' in " ".join(sorted_attributes(text))
    assert "of its log, up to <strong>2026-11-22 12:15:00 UTC</strong>" in text
    part = operator.get(page_of(point), {"part": "moment", "until": "moment", "moment": "2026-11-22T12:45"})
    assert "nearest moment that can: 2026-11-22 12:20:00 UTC" in part.content.decode()
    assert b"<html" not in part.content


def sorted_attributes(text: str) -> list[str]:
    (field,) = [each for each in text.split("<input") if 'name="moment"' in each]
    return sorted((each for each in field.split() if each.startswith(("min=", "max="))), reverse=True)


def test_a_moment_is_asked_for_with_its_base(operator: Client) -> None:
    older = make_base()
    run = Run.objects.create(
        number=99, device=older.device, kind=Run.BACKUP, state="succeeded", requested_by="x",
        queued_at=NOON, started_at=NOON + 20 * MINUTE,
    )  # fmt: skip
    RestorePoint.objects.bulk_create([copy_of(older, run, NOON + 21 * MINUTE)])
    younger = RestorePoint.objects.get(run=run)
    stream = follow(older, make_piece(0, SEGMENT, NOON, NOON + 30 * MINUTE))
    moment = NOON + 25 * MINUTE
    response = operator.post(page_of(older), answer(moment))
    assert response.status_code == 302, response.content.decode()
    asked = Run.objects.get(kind=Run.COMEBACK)
    assert asked.request["points"] == [str(younger.pk)], "the newest restore point before it"
    assert asked.request["moment"] == moment.isoformat()
    replay = read_replay(asked, [younger])
    assert replay is not None and replay.moment == moment
    assert replay.log.batches == read_batches(stream)
    event = AuditEvent.objects.get(verb="device.comeback")
    assert (event.detail["moment"], event.detail["point"]) == (moment.isoformat(), str(younger.pk))
    page = operator.get(asked.get_absolute_url()).content.decode()
    assert "as of 2026-11-22 12:25:00 UTC" in page


def copy_of(point: RestorePoint, run: Run, made_at: datetime) -> RestorePoint:
    skipped = {"id", "run", "made_at"}
    fields = {each.name: getattr(point, each.name) for each in point._meta.fields if each.name not in skipped}
    return RestorePoint(run=run, made_at=made_at, **fields)


def test_the_end_of_the_log_is_asked_for_as_such(operator: Client) -> None:
    point, _ = make_reachable()
    operator.post(page_of(point), make_answer(services="x.service", until="newest"))
    asked = Run.objects.get(kind=Run.COMEBACK)
    assert asked.request["moment"] == "newest"
    replay = read_replay(asked, [point])
    assert replay is not None and replay.moment is None


def test_a_restore_point_alone_replays_nothing(operator: Client) -> None:
    point, _ = make_reachable()
    for until in ("point", ""):
        Run.objects.filter(kind=Run.COMEBACK).delete()
        operator.post(page_of(point), make_answer(services="x.service", until=until))
        asked = Run.objects.get(kind=Run.COMEBACK)
        assert asked.request["moment"] == "" and read_replay(asked, [point]) is None


def test_a_moment_that_is_not_reached_is_said_at_its_field(operator: Client) -> None:
    point, _ = make_reachable()
    response = operator.post(page_of(point), answer(NOON + 45 * MINUTE))
    text = response.content.decode()
    assert response.status_code == 422
    assert 'id="id_moment_error"' in text
    assert "The nearest moment that can: 2026-11-22 12:30:00 UTC." in text
    assert 'value="2026-11-22T12:45:00"' in text
    assert operator.post(page_of(point), answer("nonsense")).status_code == 422
    assert operator.post(page_of(point), answer("", until="moon")).status_code == 422
    assert not Run.objects.filter(kind=Run.COMEBACK).exists()


# The card of a device.


def card_of(client: Client) -> str:
    text = client.get(reverse("device", args=["db-01"])).content.decode()
    return text[text.index('id="any-moment"') :].partition("</section>")[0]


def test_a_postgresql_without_its_log_is_offered_it(operator: Client) -> None:
    point = make_base()
    card = card_of(operator)
    assert "Keep its log" in card and "/policies/new/?device=db-01" in card
    policy = make_policy(point.device, paths=())
    policy.sources.create(application="postgresql", instance="15/main")
    assert policy.get_absolute_url() in card_of(operator)
    policy.sources.update(mode="out")
    assert 'id="any-moment"' not in operator.get(reverse("device", args=["db-01"])).content.decode()


def test_the_card_says_what_is_reached_and_leads_there(operator: Client, stranger: Client) -> None:
    point, _ = make_reachable()
    card = card_of(operator)
    assert "Followed" in card and "Keep its log" not in card
    assert "12:10:00" in card and "12:30:00" in card
    assert f"{page_of(point)}?until=moment" in card
    assert "<form" not in card
    assert stranger.get(reverse("device", args=["db-01"])).status_code == 302


def test_a_log_that_stands_still_says_why_and_what_helps(operator: Client) -> None:
    make_reachable(
        state=WalStream.TROUBLE,
        heard_at=NOON,
        problem="<b>max_slot_wal_keep_size</b> is -1",
        remedy="Set it.",
        problem_at=NOON,
        next_try_at=NOON,
    )
    card = card_of(operator)
    assert "Behind" in card and "&lt;b&gt;max_slot_wal_keep_size" in card and "Set it." in card


def test_a_log_that_is_behind_needs_attention(operator: Client) -> None:
    point, stream = make_reachable()
    policy = make_policy(point.device, paths=("/srv",), rpo_hours=100_000)
    make_point(point.device, policy, timezone.now())
    Run.objects.all().delete()
    assert "is behind" not in operator.get(reverse("fleet")).content.decode()
    WalStream.objects.filter(pk=stream.pk).update(heard_at=NOON - timedelta(days=1), problem="<i>gone</i>")
    text = operator.get(reverse("fleet")).content.decode()
    assert "The log of PostgreSQL 15/main is behind" in text and "&lt;i&gt;gone&lt;/i&gt;" in text
    assert "/devices/db-01/#any-moment" in text


def test_a_log_without_a_base_says_what_it_waits_for(operator: Client) -> None:
    follow(make_base(NOON - MINUTE), make_piece(0, SEGMENT, NOON, NOON + MINUTE))
    assert "No moment can be reached yet" in card_of(operator)


def test_a_gap_stays_on_the_page_for_days(operator: Client) -> None:
    _, stream = make_reachable()
    fields = {"stretch": "two", "from_lsn": 1, "to_lsn": 2, "reason": "the slot <i>lost</i> it"}
    WalGap.objects.create(stream=stream, at=timezone.now() - timedelta(days=6), **fields)
    WalGap.objects.create(stream=stream, at=timezone.now() - timedelta(days=8), **fields)
    assert card_of(operator).count("the slot &lt;i&gt;lost&lt;/i&gt; it") == 1


def test_a_slot_that_could_not_be_removed_is_said(operator: Client) -> None:
    follow(make_base(), state=WalStream.ENDING, is_wanted=False, problem="Nobody answers.")
    card = card_of(operator)
    assert "hotfleet_x" in card and "could not be removed yet" in card
    WalStream.objects.update(state=WalStream.OFF, has_slot=False, problem="")
    assert "hotfleet_x" not in card_of(operator)


def test_what_was_turned_off_still_leads_to_its_moments(operator: Client) -> None:
    make_reachable(state=WalStream.OFF, is_wanted=False, has_slot=False)
    card = card_of(operator)
    assert "Turned off" in card and "12:30:00" in card and "Keep its log" in card


def test_what_another_version_wrote_down_breaks_no_page(operator: Client) -> None:
    point, stream = make_reachable()
    stream.batches.update(piece={"stretch": 1})
    assert "No moment can be reached yet" in card_of(operator)
    assert operator.get(page_of(point)).status_code == 200


def test_reach_of_nothing() -> None:
    empty = Reach((), (), {})
    assert empty.find(NOON) is None and empty.nearest(NOON) is None and empty.newest is None


def test_a_device_with_a_slot_of_ours_is_not_removed(operator: Client) -> None:
    point = make_base()
    device = point.device
    RestorePoint.objects.all().delete()
    Repository.objects.all().delete()
    Run.objects.all().delete()
    WalStream.objects.create(
        device=device, instance="15/main", slot="hotfleet_x", wanted_at=NOON, has_slot=True
    )
    page = reverse("device-delete", args=["db-01"])
    assert "hotfleet_x" in operator.post(page, {"name": "db-01"}).content.decode()
    assert WalStream.objects.count() == 1
    WalStream.objects.update(has_slot=False)
    assert operator.post(page, {"name": "db-01"}).status_code == 302
    assert not WalStream.objects.exists()


def test_the_form_of_a_policy_says_what_becomes_of_the_log(operator: Client) -> None:
    policy = make_policy(make_base().device, paths=())
    policy.sources.create(application="postgresql", instance="15/main", keeps_log=True)
    assert "is followed all the time" in operator.get(policy.get_absolute_url()).content.decode()
    Policy.objects.update(is_enabled=False)
    text = operator.get(policy.get_absolute_url()).content.decode()
    assert "its slot is removed from the device" in text
    assert 'name="sources-0-keeps_log"' in text and "checked" in text.partition("keeps_log")[2][:200]


def test_what_was_asked_on_an_older_page_does_not_become_something_else(operator: Client) -> None:
    point, stream = make_reachable()
    stream.delete()
    for until in ("newest", "moment"):
        response = operator.post(page_of(point), answer(NOON + 15 * MINUTE, until=until))
        assert response.status_code == 422
        assert "Its log cannot be read now" in response.content.decode()
    assert not Run.objects.filter(kind=Run.COMEBACK).exists()


def test_a_spool_that_changes_while_it_is_read_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    _, stream = make_reachable()
    newest = make_piece(2 * SEGMENT, 3 * SEGMENT, NOON + 30 * MINUTE, NOON + 40 * MINUTE)
    answers: list[object] = [FileNotFoundError("a segment"), (newest,), *[OSError("an error")] * 3]

    def read(spool: Path) -> object:
        said = answers.pop(0)
        if isinstance(said, Exception):
            raise said
        return said

    monkeypatch.setattr(reach, "find_spool", lambda stream: Path("/spool"))
    monkeypatch.setattr(reach, "read_spool", read)
    assert find_reach(stream).newest == NOON + 40 * MINUTE
    assert find_reach(stream).newest == NOON + 30 * MINUTE, "the batches alone"
