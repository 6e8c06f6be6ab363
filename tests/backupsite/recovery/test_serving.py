"""A prepared download on its way to the browser: in pieces, resumed where it was cut, refused clearly."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from django.test import Client, RequestFactory
from pytest_django import Settings

from agents.browse import Archive
from agents.errors import PlanRefused
from backupsite.accounts.models import AuditEvent
from backupsite.recovery.downloads import ask_download, refuse_too_large
from backupsite.recovery.models import Download, RestorePoint
from backupsite.recovery.serving import PIECE_BYTES, Part, Unsatisfiable, parse_range, serve_file
from tests.backupsite.making import make_device
from tests.backupsite.recovery.making import make_read_point, read_answer
from tests.backupsite.recovery.test_download_pages import ask, make_ready
from tests.backupsite.recovery.trees import Trees

CONTENT = os.urandom(3 * PIECE_BYTES + 17)


def make_file(operator: Client, point: RestorePoint | None = None) -> str:
    """Return the address of a prepared file."""
    Download.objects.all().delete()
    page = ask(operator, point or make_read_point(names=["a.txt"]), "a.txt")
    make_ready(CONTENT)
    return f"{page}file/"


def test_a_cut_download_goes_on_where_it_ended(operator: Client) -> None:
    url = make_file(operator)
    answer = operator.get(url)
    assert (answer.status_code, answer["Content-Length"]) == (200, str(len(CONTENT)))
    assert answer["Accept-Ranges"] == "bytes"
    came = read_answer(answer, most_pieces=2)
    assert len(came) == 2 * PIECE_BYTES
    rest = operator.get(url, headers={"Range": f"bytes={len(came)}-", "If-Range": answer["ETag"]})
    assert rest.status_code == 206
    assert rest["Content-Range"] == f"bytes {len(came)}-{len(CONTENT) - 1}/{len(CONTENT)}"
    assert rest["Content-Length"] == str(len(CONTENT) - len(came))
    assert came + read_answer(rest) == CONTENT
    said = [event.detail["bytes"] for event in AuditEvent.objects.filter(verb="download.fetch")]
    assert sorted(said) == [PIECE_BYTES + 17, len(CONTENT)]


def test_a_file_that_is_prepared_again_may_go_on(operator: Client) -> None:
    point = make_read_point(names=["a.txt"])
    before = operator.get(make_file(operator, point))
    part = operator.get(make_file(operator, point), headers={"Range": "bytes=5-", "If-Range": before["ETag"]})
    assert read_answer(part) == CONTENT[5:]


def test_an_archive_that_is_prepared_again_begins_again(operator: Client) -> None:
    point = make_read_point()
    tags = []
    for _ in range(2):
        Download.objects.all().delete()
        url = f"{ask(operator, point, 'www')}file/"
        make_ready(CONTENT)
        tags.append(operator.get(url)["ETag"])
    assert tags[0] != tags[1]
    whole = operator.get(url, headers={"Range": "bytes=5-", "If-Range": tags[0]})
    assert whole.status_code == 200
    assert read_answer(whole) == CONTENT
    assert read_answer(operator.get(url, headers={"Range": "bytes=5-", "If-Range": tags[1]})) == CONTENT[5:]


def test_what_is_not_there_is_refused(operator: Client) -> None:
    answer = operator.get(make_file(operator), headers={"Range": f"bytes={len(CONTENT)}-"})
    assert (answer.status_code, answer["Content-Range"]) == (416, f"bytes */{len(CONTENT)}")
    assert not AuditEvent.objects.filter(verb="download.fetch").exists()


def test_a_look_at_it_reads_nothing(operator: Client) -> None:
    answer = operator.head(make_file(operator))
    assert (answer.status_code, answer["Content-Length"]) == (200, str(len(CONTENT)))
    assert not answer.streaming
    assert not AuditEvent.objects.filter(verb="download.fetch").exists()


@pytest.mark.django_db
def test_the_file_is_closed_though_nobody_read_it(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(CONTENT)
    opened = file.open("rb")
    serve_file(RequestFactory().get("/"), opened, len(CONTENT), "a").close()
    assert opened.closed


@pytest.mark.parametrize(
    ("said", "part"),
    [
        ("", None),
        ("bytes=0-", Part(0, 100)),
        ("bytes=0-0", Part(0, 1)),
        ("bytes=99-", Part(99, 1)),
        ("bytes=10-19", Part(10, 10)),
        ("bytes=10-1000", Part(10, 90)),
        ("bytes=-1", Part(99, 1)),
        ("bytes=-1000", Part(0, 100)),
        ("bytes=-", None),
        ("bytes=20-10", None),
        ("bytes=0-1,5-6", None),
        ("bytes=a-b", None),
        ("bytes=1 - 2", None),
        ("bytes=٣-", None),
        ("bytes=" + "9" * 19 + "-", None),
        ("items=0-1", None),
    ],
)
def test_ranges(said: str, part: Part | None) -> None:
    assert parse_range(said, 100) == part


@pytest.mark.parametrize(
    ("said", "size"), [("bytes=100-", 100), ("bytes=0-", 0), ("bytes=-0", 100), ("bytes=-5", 0)]
)
def test_ranges_that_cannot_be(said: str, size: int) -> None:
    with pytest.raises(Unsatisfiable):
        parse_range(said, size)


@pytest.mark.parametrize(("archive", "is_refused"), [("", True), ("tar", True), ("zip", False)])
def test_what_is_too_large_is_refused_before_it_is_read(
    db: None, settings: Settings, tmp_path: Path, archive: Archive, is_refused: bool
) -> None:
    settings.HOTFLEET_HOME = tmp_path
    point = Trees(make_device()).add({"/srv/large": (100_000_000_000, 0)})
    paths = ["/srv/large" if not archive else "/srv"]
    made = ask_download(point, paths, archive=archive, requested_by="ada")
    refuse_too_large(made, 100_000_000_000)
    if not is_refused:
        refuse_too_large(made, 1)
        return
    with pytest.raises(PlanRefused, match="has room for 99,999,999,999") as refused:
        refuse_too_large(made, 99_999_999_999)
    assert refused.value.remedy
