"""The navigation shows the pages that exist and marks where the reader is."""

from __future__ import annotations

import pytest
from django.http import HttpRequest, HttpResponse
from django.urls import path

from backupsite.web.navigation import Item, Section, find_current, make_navigation


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


urlpatterns = [
    path("", page, name="fleet"),
    path("devices/", page, name="devices"),
    path("tags/", page, name="tags"),
]
SECTIONS = (
    Section("", (Item("Fleet", "fleet", "fleet"), Item("Devices", "device", "devices", True, "tags"))),
    Section("Later", (Item("Not built", "alert", "not-built"),)),
)

pytestmark = pytest.mark.urls(__name__)


def test_a_page_that_does_not_exist_yet_has_no_entry_and_leaves_no_empty_section() -> None:
    groups = make_navigation("/", SECTIONS)
    assert [[link.label for link in group.links] for group in groups] == [["Fleet", "Devices"]]


@pytest.mark.parametrize(
    ("where", "marked"),
    [
        ("/", ["Fleet"]),
        ("/devices/", ["Devices"]),
        ("/devices/db-01/runs/", ["Devices"]),
        ("/tags/7/", ["Devices"]),
        ("/elsewhere/", []),
    ],
)
def test_the_entry_that_contains_the_page_is_marked(where: str, marked: list[str]) -> None:
    links = [link for group in make_navigation(where, SECTIONS) for link in group.links]
    assert [link.label for link in links if link.is_current] == marked


def test_the_longest_address_wins() -> None:
    assert find_current("/runs/drills/4/", ["/", "/runs/", "/runs/drills/"]) == "/runs/drills/"
