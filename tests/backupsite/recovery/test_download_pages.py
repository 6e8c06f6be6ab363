"""Downloads: asked for, watched, fetched; by one person, for some hours."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import unquote

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from backupsite.accounts.models import AuditEvent, User
from backupsite.recovery.download_pages import attachment
from backupsite.recovery.downloads import _offer, file_name_of, file_of, paths_of, remove_expired
from backupsite.recovery.folders import decode_path, encode_path
from backupsite.recovery.models import Download, RestorePoint
from backupsite.runs.models import Run
from backupsite.runs.states import State
from tests.backupsite.recovery.making import HOSTILE, make_read_point, read_answer


def ask(client: Client, point: RestorePoint, *names: str, folder: str = "/srv") -> str:
    fields = {"folder": encode_path(folder), "entry": [encode_path(name) for name in names]}
    answer = client.post(reverse("point-download", args=[point.pk]), fields)
    assert answer.status_code == 302
    return str(answer["Location"])


def make_ready(content: bytes = b"<script>alert(1)</script>") -> Download:
    made = Download.objects.get()
    file_of(made).write_bytes(content)
    Download.objects.update(is_ready=True, size_bytes=len(content))
    Run.objects.update(state=State.SUCCEEDED)
    return made


@pytest.fixture
def other(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_user("eve", "correct horse battery", is_superuser=True))
    return client


@pytest.mark.parametrize("name", ["a.txt", *HOSTILE])
def test_a_file_is_asked_for_and_fetched(operator: Client, name: str) -> None:
    point = make_read_point(names=["a.txt", *HOSTILE])
    page = ask(operator, point, name)
    made = Download.objects.get()
    assert (decode_path(made.path_key), made.archive) == (f"/srv/{name}", "")
    waiting = operator.get(page).content.decode()
    assert f'data-live-topic="run:{made.run_id}"' in waiting
    assert "<script>alert" not in waiting
    assert operator.get(f"{page}file/").status_code == 404

    make_ready()
    assert "It is ready and whole." in operator.get(f"{page}?part=state").content.decode()
    answer = operator.get(f"{page}file/")
    assert read_answer(answer) == b"<script>alert(1)</script>"
    assert answer["Content-Type"] == "application/octet-stream"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Content-Security-Policy"].startswith("sandbox")
    header = answer["Content-Disposition"]
    assert header.startswith("attachment; filename*=UTF-8''")
    assert header.isascii()
    assert header.isprintable()
    assert {event.verb for event in AuditEvent.objects.filter(actor="ada")} == {
        "download.ask",
        "download.fetch",
    }


def test_a_folder_becomes_an_archive(operator: Client) -> None:
    point = make_read_point()
    ask(operator, point, "www")
    assert [(decode_path(d.path_key), d.archive) for d in Download.objects.all()] == [("/srv/www", "zip")]
    ask(operator, point)
    assert Download.objects.filter(path_key=encode_path("/srv"), archive="zip").count() == 1
    for said, archive in (("tar", "tar"), ("zip", "zip"), ("rar", "zip")):
        page = operator.post(reverse("point-download", args=[point.pk]), {"archive": said})["Location"]
        made = Download.objects.get(pk=page.split("/")[-2])
        assert (made.archive, file_name_of(made)) == (archive, f"srv.{archive}")
        assert f"as one {archive} archive" in operator.get(page).content.decode()


def test_a_link_alone_is_none(operator: Client) -> None:
    point = make_read_point()
    assert "/points/" in ask(operator, point, "now")
    assert not Download.objects.exists()


def test_several_things_become_one_archive(operator: Client) -> None:
    ask(operator, make_read_point(), "a.txt", "b.txt")
    made = Download.objects.get()
    assert (paths_of(made), made.archive) == (["/srv/a.txt", "/srv/b.txt"], "zip")


@pytest.mark.parametrize(("name", "folder"), [("c.txt", "/srv"), ("a.txt", "/etc"), ("../etc", "/srv")])
def test_what_nobody_saw_there_is_not_found(operator: Client, name: str, folder: str) -> None:
    point = make_read_point()
    fields = {"folder": encode_path(folder), "entry": encode_path(name)}
    assert operator.post(reverse("point-download", args=[point.pk]), fields).status_code == 404
    assert not Download.objects.exists()


def test_it_does_not_exist_for_others(operator: Client, other: Client, stranger: Client) -> None:
    page = ask(operator, make_read_point(), "a.txt")
    make_ready()
    for url in (page, f"{page}?part=state", f"{page}file/"):
        assert other.get(url).status_code == 404
        assert stranger.get(url).status_code == 302
    assert not AuditEvent.objects.filter(verb="download.fetch").exists()


def test_after_its_time_it_is_gone(operator: Client) -> None:
    page = ask(operator, make_read_point(), "a.txt")
    made = make_ready()
    Download.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert operator.get(f"{page}file/").status_code == 410
    assert "It is not kept any more" in operator.get(page).content.decode()
    Download.objects.update(expires_at=timezone.now() + timedelta(hours=1))
    file_of(made).unlink()
    assert operator.get(f"{page}file/").status_code == 410


def test_a_failure_is_said(operator: Client) -> None:
    page = ask(operator, make_read_point(), "a.txt")
    Run.objects.update(state=State.FAILED, error_text="The disk is <b>full</b>.")
    text = operator.get(page).content.decode()
    assert "It could not be prepared." in text
    assert "&lt;b&gt;full&lt;/b&gt;" in text


def test_what_is_done_is_a_post(operator: Client) -> None:
    point = make_read_point()
    assert operator.get(reverse("point-download", args=[point.pk])).status_code == 405
    page = ask(operator, point, "a.txt")
    assert operator.post(page).status_code == 405
    assert operator.post(f"{page}file/").status_code == 405


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain.txt", "plain.txt"),
        ("bücher 1.txt", "bücher 1.txt"),
        ('a"; filename=b.exe', 'a"; filename=b.exe'),
        ("a\r\nSet-Cookie: x=1", "a_r_nSet-Cookie: x=1"),
        ("\u202egnp.exe", "[U+202E]gnp.exe"),
        ("a\\b", "a_b"),
        ("\udcff.txt", "\ufffd.txt"),
    ],
)
def test_a_header_cannot_be_split(name: str, shown: str) -> None:
    header = attachment(name)
    assert unquote(header.removeprefix("attachment; filename*=UTF-8''")) == shown
    assert header.isascii()


def test_what_takes_longer_to_prepare_than_it_is_kept(operator: Client) -> None:
    page = ask(operator, make_read_point(), "a.txt")
    made = Download.objects.get()
    Download.objects.update(expires_at=timezone.now() - timedelta(hours=1))
    file_of(made).with_suffix(".part").write_bytes(b"half")
    remove_expired()
    assert file_of(made).with_suffix(".part").exists(), "a worker is at it"
    assert "It waits: for a free worker." in operator.get(page).content.decode()
    file_of(made).write_bytes(b"whole")
    _offer(made, 5)
    Run.objects.update(state=State.SUCCEEDED)
    remove_expired()
    assert read_answer(operator.get(f"{page}file/")) == b"whole", "it is kept from when it is ready"
    Download.objects.update(expires_at=timezone.now() - timedelta(hours=1))
    remove_expired()
    assert not file_of(made).exists()
