"""The lists of restore points, the page of one, and its file browser."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from agents.commands import to_bytes
from backupsite.recovery.browsing import keep_listing
from backupsite.recovery.folders import decode_path, encode_path
from backupsite.recovery.models import Listing, ListingPage, RestorePoint
from backupsite.runs.models import Run
from backupsite.runs.states import State
from tests.backupsite.making import make_device, make_point, make_run
from tests.backupsite.recovery.making import HOSTILE, make_node, make_read_point


def folder_page(point: RestorePoint, folder: str, part: bool = False) -> str:
    return f"{point.get_absolute_url()}?folder={encode_path(folder)}{'&part=folder' if part else ''}"


def open_folder(client: Client, point: RestorePoint, folder: str) -> str:
    answer = client.post(reverse("point-open", args=[point.pk]), {"folder": encode_path(folder)})
    assert answer.status_code == 302
    return str(answer["Location"])


@pytest.mark.parametrize("url", ["/points/", "/devices/db-01/points/"])
def test_lists_show_points_to_the_signed_in_only(operator: Client, stranger: Client, url: str) -> None:
    point = make_point(make_device(), None, timezone.now(), is_complete=False)
    text = operator.get(url).content.decode()
    assert point.get_absolute_url() in text
    assert "btrfs snapshot" in text
    assert "Crash-consistent" in text
    assert "Not complete" in text
    assert stranger.get(url)["Location"].startswith(reverse("login"))


def test_a_list_is_narrowed_by_device_and_source(operator: Client) -> None:
    here = make_point(make_device(), None, timezone.now(), source="/srv")
    there = make_point(make_device("web-01"), None, timezone.now(), source="/etc")
    text = operator.get("/points/?device=web-01").content.decode()
    assert there.get_absolute_url() in text
    assert here.get_absolute_url() not in text
    text = operator.get("/points/?source=sr%00v").content.decode()
    assert here.get_absolute_url() in text
    assert there.get_absolute_url() not in text


def test_a_list_takes_as_many_queries_as_it_did(
    operator: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    device = make_device()
    for number in range(60):
        make_point(device, None, timezone.now() - timedelta(hours=number))
    with django_assert_num_queries(4):  # session, user, count, page
        assert "1 to 50 of 60" in operator.get("/points/").content.decode()
    with django_assert_num_queries(7):  # session, user, device, what it shares, resting, count, page
        operator.get("/devices/db-01/points/")


def test_a_point_says_what_it_is(operator: Client, stranger: Client) -> None:
    device = make_device()
    point = make_point(device, None, timezone.now(), run=make_run(device), is_complete=False)
    text = operator.get(point.get_absolute_url()).content.decode()
    assert "Everything is from one moment" in text
    assert "This restore point is not complete." in text
    assert "/runs/1/" in text
    assert stranger.get(point.get_absolute_url()).status_code == 302


def test_a_point_that_is_not_there_is_not_found(operator: Client) -> None:
    gone = "/points/00000000-0000-4000-8000-000000000000/"
    assert operator.get(gone).status_code == 404
    assert operator.post(f"{gone}open/").status_code == 404
    assert operator.post(f"{gone}download/").status_code == 404


def test_looking_at_a_page_asks_for_nothing(operator: Client) -> None:
    point = make_point(make_device(), None, timezone.now())
    text = operator.get(point.get_absolute_url()).content.decode()
    assert "Open this folder" in text
    assert not Run.objects.exists()
    assert not Listing.objects.exists()
    assert operator.get(reverse("point-open", args=[point.pk])).status_code == 405


def test_a_folder_is_read_once_and_then_opens_at_once(operator: Client) -> None:
    point = make_point(make_device(), None, timezone.now())
    page = open_folder(operator, point, "/srv/www")
    assert open_folder(operator, point, "/srv/www") == page
    run = Run.objects.get(kind=Run.BROWSE)
    waiting = operator.get(page).content.decode()
    assert "Reading the folder…" in waiting
    assert f'data-live-topic="run:{run.pk}"' in waiting
    part = operator.get(folder_page(point, "/srv/www", part=True)).content.decode()
    assert 'id="point-folder"' in part
    assert "<form" not in part

    keep_listing(point, "/srv/www", [make_node("index.html")])
    Run.objects.update(state=State.SUCCEEDED)
    part = operator.get(folder_page(point, "/srv/www", part=True)).content.decode()
    assert "index.html" in part
    assert "data-live-topic" not in part
    open_folder(operator, point, "/srv/www")
    assert Run.objects.count() == 1


def test_a_folder_that_could_not_be_read_says_why(operator: Client) -> None:
    point = make_point(make_device(), None, timezone.now())
    page = open_folder(operator, point, "/srv")
    Run.objects.update(state=State.FAILED, error_text="There is no such folder: <b>/srv</b>.")
    text = operator.get(page).content.decode()
    assert "This folder could not be read" in text
    assert "&lt;b&gt;/srv&lt;/b&gt;" in text
    assert "Try again" in text


def test_hostile_names_are_visible_and_come_back_byte_for_byte(operator: Client) -> None:
    point = make_read_point(names=HOSTILE)
    text = operator.get(point.get_absolute_url()).content.decode()
    assert "<script>alert" not in text
    assert "\u202e" not in text
    assert "\\xff\\xfe.txt" in text
    assert "two\\nlines" in text
    keys = re.findall(r'name="name" value="([\w-]+)"', text)
    assert {to_bytes(decode_path(key)) for key in keys} >= {to_bytes(name) for name in HOSTILE}


def test_a_hostile_folder_can_be_opened(operator: Client) -> None:
    point = make_point(make_device(), None, timezone.now())
    folder = '/srv/\udcff"><script>\u202e'
    page = open_folder(operator, point, folder)
    run = Run.objects.get()
    assert decode_path(run.request["folder"]) == folder
    text = operator.get(page).content.decode()
    assert "<script>" not in text.replace("<script src", "").replace('<script type="module"', "")
    assert "\\xff&quot;&gt;&lt;script&gt;[U+202E]" in text


def test_read_folders_are_links_and_others_buttons(operator: Client) -> None:
    point = make_read_point()
    text = operator.get(point.get_absolute_url()).content.decode()
    key = encode_path("/srv/www")
    assert f'form="open-folder" name="folder" value="{key}"' in text
    keep_listing(point, "/srv/www", [])
    text = operator.get(point.get_absolute_url()).content.decode()
    assert f'href="?folder={key}"' in text
    assert "This folder is empty" in operator.get(folder_page(point, "/srv/www")).content.decode()


def test_a_large_folder_comes_in_pages(
    operator: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    point = make_point(make_device(), None, timezone.now())
    nodes = [make_node(f"file-{number:04}") for number in range(ListingPage.PAGE_SIZE + 3)]
    keep_listing(point, "/srv", nodes)
    with django_assert_num_queries(7):  # session, user, point, listing, page, which folders were read, copy
        first = operator.get(point.get_absolute_url()).content.decode()
    assert "1 to 500 of 503" in first.replace("\u202f", "")
    second = operator.get(f"{folder_page(point, '/srv')}&page=2").content.decode()
    assert second.count("file-050") >= 3
    assert "file-0000" not in second


@pytest.mark.parametrize("folder", ["!!", "YQ", "L2V0Yy8uLg", "A" * 30_000, "L2EAYg"])
def test_what_is_no_folder_is_not_found(operator: Client, folder: str) -> None:
    """Not base64, a relative path, one with "..", one that is too long, one with NUL."""
    point = make_point(make_device(), None, timezone.now())
    assert operator.get(f"{point.get_absolute_url()}?folder={folder}").status_code == 404
    assert operator.post(reverse("point-open", args=[point.pk]), {"folder": folder}).status_code == 404
