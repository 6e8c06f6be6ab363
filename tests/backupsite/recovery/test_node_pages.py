"""A device whose repository lies on another node: its pages say what can be done, and why where it cannot."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from backupsite.recovery.browsing import ask_listing, keep_listing
from backupsite.recovery.folders import encode_path
from backupsite.recovery.models import Download, RestorePoint
from backupsite.repositories.models import Node, Repository, Storage
from backupsite.runs.models import Run
from tests.backupsite.making import make_device, make_point, make_policy
from tests.backupsite.recovery.making import make_node
from tests.backupsite.recovery.test_restore_pages import make_answer, page_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def point() -> RestorePoint:
    """The second restore point of a device; its repository lies on the node cellar, which is silent."""
    device = make_device()
    policy = make_policy(device)
    make_point(device, policy, timezone.now() - timedelta(hours=1))
    made = make_point(device, policy, timezone.now())
    heard_at = timezone.now() - timedelta(hours=1)
    cellar = Node.objects.create(slug="cellar", name="<i>cellar", heard_at=heard_at)
    storage = Storage.objects.create(node=cellar, name="far", path="/srv/far", marker="far")
    Repository.objects.filter(pk=made.repository_id).update(storage=storage, restic_id="a" * 64)
    return RestorePoint.objects.select_related("repository__storage__node", "device").get(pk=made.pk)


def read(operator: Client, url: str, status: int = 200) -> str:
    answer = operator.get(url, follow=True)
    assert answer.status_code == status
    text = answer.content.decode()
    assert "<i>cellar" not in text
    return text


def test_every_page_of_the_device_opens(operator: Client, point: RestorePoint) -> None:
    device = point.device.get_absolute_url()
    pages = ("", "points/", "runs/", "restore/", "drills/", "edit/", "retention/")
    for page in (*pages, "policies/"):
        assert operator.get(f"{device}{page}").status_code in (200, 302, 404), page
    for url in (
        "/", "/devices/", "/points/", "/drills/", "/restores/", "/repositories/", "/repositories/nodes/",
        "/repositories/adopt/", f"/repositories/{point.repository.uuid}/", point.get_absolute_url(),
        point.policy.get_absolute_url() if point.policy else "/",
    ):  # fmt: skip
        read(operator, url)


def test_downloads_are_refused_where_they_are_asked_for(operator: Client, point: RestorePoint) -> None:
    answer = operator.post(page_of(point.device), make_answer(point, to="download", archive="zip"))
    assert answer.status_code == 422
    assert "lies on the node &lt;i&gt;cellar, and browsers fetch from the console" in answer.content.decode()
    url = f"{point.get_absolute_url()}download/"
    text = operator.post(url, {"folder": encode_path("/srv")}, follow=True).content.decode()
    assert "Restore it into a folder of a device instead" in text
    assert not Download.objects.exists() and not Run.objects.exists()


def test_a_folder_is_read_by_its_node_and_while_that_is_silent_the_page_says_so(
    operator: Client, point: RestorePoint
) -> None:
    text = read(operator, point.get_absolute_url())
    assert "There is no list of all paths" in text and "is being made" not in text
    run = ask_listing(point, "/srv", requested_by="ada")
    text = read(operator, point.get_absolute_url())
    assert "It waits: the node &lt;i&gt;cellar is silent." in text
    Run.objects.filter(pk=run.pk).delete()
    keep_listing(point, "/srv", [make_node("file")])
    text = read(operator, point.get_absolute_url())
    assert "Restore this folder" in text and "Download as zip" not in text and 'title="Download"' not in text


def test_what_needs_the_list_of_paths_says_that_there_is_none(operator: Client, point: RestorePoint) -> None:
    slug, path = point.device.slug, encode_path("/srv/x")
    for url in (f"/devices/{slug}/versions/?path={path}", f"{point.get_absolute_url()}compare/"):
        text = read(operator, url)
        assert "There is no list of paths" in text and "Have its repository checked" not in text
    text = read(operator, "/search/files/?q=x")
    assert "1 device is not in this answer: its repository lies on another node" in text
    near = make_point(make_device("near"), None, timezone.now())
    assert near.repository.storage.node.slug == "console"
    assert "1 device is not in this answer" in read(operator, "/search/files/?q=x")


def test_the_look_before_a_restore_says_why_it_waits(operator: Client, point: RestorePoint) -> None:
    url = f"{page_of(point.device)}?part=forecast"
    text = operator.post(url, make_answer(point, to="folder", target="/srv/x")).content.decode()
    assert "waits: the node &lt;i&gt;cellar is silent" in text
