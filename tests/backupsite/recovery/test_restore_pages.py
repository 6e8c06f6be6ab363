"""The form of a restore, from the moment to the run."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from agents.commands import to_bytes
from backupsite.accounts.models import AuditEvent
from backupsite.fleet.models import Device
from backupsite.recovery.downloads import file_name_of, paths_of
from backupsite.recovery.folders import decode_path, encode_path
from backupsite.recovery.models import Download, RestorePoint
from backupsite.recovery.restore_form import check_target, propose_target
from backupsite.runs.models import Run
from tests.backupsite.hostile import PATHS
from tests.backupsite.making import make_device, make_point
from tests.backupsite.recovery.making import HOSTILE, make_read_point


def page_of(device: Device) -> str:
    return reverse("device-restore", args=[device.slug])


def make_answer(point: RestorePoint, /, **fields: object) -> dict[str, object]:
    return {
        "point": str(point.pk),
        "to": "folder",
        "target": "/var/restore/x",
        "conflict": "skip",
        "token": "8d0b2e9c-6f1d-4b53-9a4e-0d5c2c1f7a10",
        **fields,
    }


def test_the_newest_point_is_proposed(operator: Client, stranger: Client) -> None:
    device = make_device()
    old = make_point(device, None, timezone.now() - timedelta(days=1))
    new = make_point(device, None, timezone.now())
    other = make_point(device, None, timezone.now() - timedelta(hours=1), source="/etc")
    text = operator.get(page_of(device)).content.decode()
    assert f'value="{new.pk}"' in text
    assert f'value="{old.pk}"' in text
    assert f'value="{other.pk}"' in text
    assert propose_target(new) in text
    assert "A file that exists there is kept; the restored one comes beside it" in text
    assert stranger.get(page_of(device)).status_code == 302
    assert stranger.post(page_of(device), make_answer(new)).status_code == 302
    assert not Run.objects.exists()


def test_without_a_point_it_says_so(operator: Client) -> None:
    assert "Nothing to restore yet" in operator.get(page_of(make_device())).content.decode()


@pytest.mark.parametrize("method", ["get", "post"])
def test_another_devices_point_does_not_exist_here(operator: Client, method: str) -> None:
    device = make_device()
    make_point(device, None, timezone.now())
    foreign = make_point(make_device("web-01"), None, timezone.now())
    for pk in (str(foreign.pk), "00000000-0000-4000-8000-000000000000", "nonsense"):
        fields = make_answer(foreign, point=pk)
        assert getattr(operator, method)(page_of(device), fields).status_code == 404
    assert not Run.objects.exists()


def test_a_whole_source_is_restored(operator: Client) -> None:
    point = make_point(make_device(), None, timezone.now())
    answer = operator.post(page_of(point.device), make_answer(point, target=" /var//restore/x/ "))
    run = Run.objects.get()
    assert answer["Location"] == run.get_absolute_url()
    assert (run.kind, run.device, run.requested_by) == (Run.RESTORE, point.device, "ada")
    assert run.request == {
        "point": str(point.pk),
        "folder": encode_path("/srv"),
        "names": [],
        "target": "/var/restore/x",
        "conflict": "skip",
        "mode": "merge",
        "is_whole_system": False,
        "size_bytes": 1000,
        "safety": False,
        "form": "8d0b2e9c-6f1d-4b53-9a4e-0d5c2c1f7a10",
    }
    assert AuditEvent.objects.filter(verb="device.restore").count() == 1
    assert "Everything in /srv" in operator.get(run.get_absolute_url()).content.decode()


def test_two_clicks_are_one_restore(operator: Client) -> None:
    point = make_point(make_device(), None, timezone.now())
    first = operator.post(page_of(point.device), make_answer(point))
    assert operator.post(page_of(point.device), make_answer(point))["Location"] == first["Location"]
    assert Run.objects.count() == 1


def test_picked_entries_go_through_byte_for_byte(operator: Client) -> None:
    point = make_read_point(names=HOSTILE)
    keys = [encode_path(name) for name in HOSTILE]
    picked = {"point": str(point.pk), "folder": encode_path("/srv"), "name": keys}
    shown = operator.post(page_of(point.device), picked)
    assert shown.status_code == 200
    assert not Run.objects.exists()
    text = shown.content.decode()
    assert "<script>alert" not in text
    assert "\\xff\\xfe.txt" in text
    assert "8 entries of /srv" in text
    assert all(f'name="name" value="{key}"' in text for key in keys)

    operator.post(page_of(point.device), make_answer(point, **picked))
    run = Run.objects.get()
    assert {to_bytes(decode_path(name)) for name in run.request["names"]} == {
        to_bytes(name) for name in HOSTILE
    }
    assert run.request["size_bytes"] == 10 * len(HOSTILE)
    assert "8 entries of /srv" in operator.get(run.get_absolute_url()).content.decode()


def test_the_size_of_a_folder_is_not_made_up(operator: Client) -> None:
    point = make_read_point()
    names = [encode_path("www"), encode_path("a.txt")]
    operator.post(page_of(point.device), make_answer(point, folder=encode_path("/srv"), name=names))
    assert Run.objects.get().request["size_bytes"] == 0


@pytest.mark.parametrize(("folder", "name"), [("/srv", "c.txt"), ("/etc", "a.txt"), ("/srv", "../etc")])
def test_names_that_nobody_saw_are_not_found(operator: Client, folder: str, name: str) -> None:
    """Such a name would be restored as nothing, and the run would say that all went well."""
    point = make_read_point()
    fields = make_answer(point, folder=encode_path(folder), name=[encode_path(name)])
    assert operator.post(page_of(point.device), fields).status_code == 404
    assert not Run.objects.exists()


@pytest.mark.parametrize("target", [*PATHS, "/", "/./", "/var/../etc"])
def test_a_wrong_folder_is_said_at_its_field(operator: Client, target: str) -> None:
    point = make_point(make_device(), None, timezone.now())
    allowed = {"/home/*"}
    answer = operator.post(page_of(point.device), make_answer(point, target=target))
    assert answer.status_code == (302 if target in allowed else 422), target
    if target not in allowed:
        text = answer.content.decode()
        assert "Nothing was started yet" in text
        assert 'id="id_target_error"' in text
        assert not Run.objects.exists()


def test_nothing_typed_is_lost(operator: Client) -> None:
    point = make_read_point()
    keys = [encode_path("a.txt")]
    fields = make_answer(point, target="relative/<b>", folder=encode_path("/srv"), name=keys)
    text = operator.post(page_of(point.device), fields).content.decode()
    assert 'value="relative/&lt;b&gt;"' in text
    assert f'name="name" value="{keys[0]}"' in text


@pytest.mark.parametrize("fields", [{"to": "moon"}, {"to": ""}])
def test_a_place_that_is_not_offered_is_refused(operator: Client, fields: dict[str, str]) -> None:
    point = make_point(make_device(), None, timezone.now())
    assert operator.post(page_of(point.device), make_answer(point, **fields)).status_code == 422
    assert not Run.objects.exists()


def test_a_download_is_the_other_place(operator: Client) -> None:
    point = make_read_point()
    fields = make_answer(
        point, to="download", target="", folder=encode_path("/srv"), name=[encode_path("a.txt")]
    )
    answer = operator.post(page_of(point.device), fields)
    made = Download.objects.get()
    assert answer["Location"] == reverse("download", args=[made.pk])
    assert (decode_path(made.path_key), made.archive) == ("/srv/a.txt", "")


@pytest.mark.parametrize(("said", "archive"), [("tar", "tar"), ("zip", "zip"), (None, "zip")])
def test_a_download_of_several_things_is_one_archive(
    operator: Client, said: str | None, archive: str
) -> None:
    point = make_read_point()
    names = [encode_path(name) for name in ("b.txt", "www", "now", "a.txt")]
    fields = make_answer(point, to="download", folder=encode_path("/srv"), name=names)
    answer = operator.post(page_of(point.device), fields if said is None else {**fields, "archive": said})
    made = Download.objects.get()
    assert answer["Location"] == reverse("download", args=[made.pk])
    assert (paths_of(made), made.archive) == (["/srv/a.txt", "/srv/b.txt", "/srv/now", "/srv/www"], archive)
    assert file_name_of(made) == f"db-01.{archive}"
    assert "/srv/a.txt and 3 more" in operator.get(answer["Location"]).content.decode()


def test_a_link_alone_is_no_download(operator: Client) -> None:
    point = make_read_point()
    fields = make_answer(point, to="download", folder=encode_path("/srv"), name=[encode_path("now")])
    answer = operator.post(page_of(point.device), fields)
    assert answer.status_code == 422
    assert "A download holds up to 200 files" in answer.content.decode()
    assert not Download.objects.exists()


def test_what_will_happen_follows_the_form(operator: Client) -> None:
    device = make_device()
    srv = make_point(device, None, timezone.now())
    etc = make_point(device, None, timezone.now() - timedelta(hours=1), source="/etc", is_complete=False)
    url = f"{page_of(device)}?part=outcome"
    text = operator.post(url, make_answer(etc, target="/var/restore/<i>")).content.decode()
    assert "Everything in /etc" in text
    assert "/var/restore/&lt;i&gt;" in text
    assert "This restore point is not complete" in text
    # The proposal of the moment before was not typed by anybody: it follows the moment.
    text = operator.post(url, make_answer(etc, target=propose_target(srv))).content.decode()
    assert propose_target(etc) in text
    assert 'hx-swap-oob="true"' in text
    assert not Run.objects.exists()


def test_a_page_takes_as_many_queries_as_it_did(
    operator: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    device = make_device()
    for number in range(20):
        make_point(device, None, timezone.now() - timedelta(hours=number), source=f"/srv/{number % 6}")
    with django_assert_num_queries(12):
        operator.get(page_of(device))


@pytest.mark.parametrize(
    ("typed", "meant"), [("/srv/x", "/srv/x"), ("//srv//x/", "/srv/x"), (" /srv/./x ", "/srv/x")]
)
def test_a_folder_is_written_in_one_way(typed: str, meant: str) -> None:
    assert check_target(typed) == meant


@pytest.mark.parametrize("source", ["/", "/srv/ü b", "/.hidden", "/" + "a" * 300])
def test_what_is_proposed_is_allowed(db: None, source: str) -> None:
    point = make_point(make_device(), None, timezone.now(), source=source)
    proposed = propose_target(point)
    assert check_target(proposed) == proposed
