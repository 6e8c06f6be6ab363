"""The page of one restore point: its facts and its folders. A worker reads a folder when it is opened."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from django.core.paginator import Page, Paginator
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from backupsite.policies.naming import name_source
from backupsite.recovery.browse_page import icon_of, indexed_context
from backupsite.recovery.browsing import ask_listing, find_listing, read_page
from backupsite.recovery.downloads import why_not_fetched
from backupsite.recovery.folders import Entry, decode_folder, encode_path, folder_key, join
from backupsite.recovery.index.reading import find_fault, find_place
from backupsite.recovery.models import Listing, ListingPage, RestorePoint
from backupsite.recovery.origins import list_copies, why_not_first
from backupsite.recovery.words import ShownPoint
from backupsite.repositories.nodes import is_here
from backupsite.runs.models import Run
from backupsite.runs.requests import ACTIVE
from backupsite.runs.waiting import explain_one
from backupsite.web.visible import make_visible


@dataclass(frozen=True)
class ShownEntry:
    """One line of the file browser. `path_key` is the entry's path as URLs and forms carry it."""

    entry: Entry
    path_key: str
    is_read: bool

    @property
    def icon(self) -> str:
        return icon_of(self.entry.kind)


@dataclass(frozen=True)
class Crumb:
    """A folder on the way to the one that is shown."""

    name: str
    key: str
    is_read: bool


@require_safe
def point(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    found = RestorePoint.objects.select_related("device", "policy", "run", "repository__storage__node")
    shown = get_object_or_404(found, pk=pk)
    folder = read_folder(shown, request.GET.get("folder"))
    context = folder_context(shown, folder, request.GET)
    if request.GET.get("part") == "folder":
        return render(request, "recovery/folder.html", context)
    second = list_copies([shown]).get(shown.pk)
    context |= {
        "shown": ShownPoint(shown),
        "second": second,
        "why_second": why_not_first([shown]) if second is not None else "",
        "crumbs": [
            ("Restore points", reverse("points")),
            (make_visible(shown.device.name), reverse("device-points", args=[shown.device.slug])),
            (name_source(shown.source, shown.part), ""),
        ],
    }
    return render(request, "recovery/point.html", context)


@require_POST
def point_open(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """Have a worker read a folder, then show it. What was read already is shown at once."""
    shown = get_object_or_404(RestorePoint.objects.select_related("device"), pk=pk)
    folder = read_folder(shown, request.POST.get("folder"))
    if find_place(shown) is None and find_listing(shown, folder) is None:
        ask_listing(shown, folder, requested_by=request.user.get_username())
    return redirect(folder_url(shown, folder))


def read_folder(point: RestorePoint, text: str | None) -> str:
    """Given a folder as an address or a form carries it, return it; the point's top when there is none.

    Raise Http404 when it is none of ours."""
    if not text:
        return point.top_folder
    try:
        return decode_folder(text)
    except ValueError as error:
        raise Http404(str(error)) from None


def folder_url(point: RestorePoint, folder: str) -> str:
    """Given a restore point and a folder in it, return the folder's page."""
    return f"{point.get_absolute_url()}?folder={encode_path(folder)}"


def folder_context(point: RestorePoint, folder: str, given: QueryDict) -> dict[str, Any]:
    """Return what the file browser shows: from the index, or what a worker read from the repository."""
    context: dict[str, Any] = {
        "point": point,
        "folder": folder,
        "folder_key": encode_path(folder),
        "folder_url": folder_url(point, folder),
    }
    indexed = indexed_context(point, folder, given)
    return context | (indexed if indexed is not None else _listed_context(point, folder, given.get("page")))


def _listed_context(point: RestorePoint, folder: str, number: str | None) -> dict[str, Any]:
    """Return what a worker read of the folder, or how far it is. Runs at most four queries."""
    listing = find_listing(point, folder)
    ways = _ways_to(folder)
    context: dict[str, Any] = {
        "listing": listing,
        "is_indexed": False,
        "no_download": why_not_fetched(point),
        **fault_context(point),
    }
    if listing is None:
        reading = _newest_reading(point, folder)
        read = _find_read(point, ways)
        is_reading = reading is not None and reading.state in ACTIVE
        wait = explain_one(reading, timezone.now()) if reading is not None and is_reading else None
        context |= {"reading": reading, "is_reading": is_reading, "wait": wait}
    else:
        page = page_of(listing, number)
        entries = read_page(listing, page.number)
        paths = {entry.key: join(folder, entry.name) for entry in entries}
        read = _find_read(point, [*ways, *(paths[entry.key] for entry in entries if entry.is_folder)])
        context |= {
            "page": page,
            "entries": [
                ShownEntry(entry, encode_path(paths[entry.key]), paths[entry.key] in read)
                for entry in entries
            ],
        }
    context["ways"] = [Crumb(way.rpartition("/")[2] or "/", encode_path(way), way in read) for way in ways]
    return context


def fault_context(point: RestorePoint) -> dict[str, Any]:
    """Given a restore point that is not in the index, return for a page why it cannot be, if known."""
    storage = point.repository.storage
    if is_here(storage):
        return {"fault": find_fault(point), "is_elsewhere": False}
    name = make_visible(storage.node.name)
    return {
        "fault": f"The repository lies on the node {name}, and only those of the console's machine have one.",
        "is_elsewhere": True,
    }


def page_of(listing: Listing, number: str | None) -> Page[int]:
    """Given a listing and a page's number as typed, return the page (of places, not of entries)."""
    return Paginator(range(listing.entry_count), ListingPage.PAGE_SIZE).get_page(number)


def _ways_to(folder: str) -> list[str]:
    """Return every folder from / to this one."""
    parts = [part for part in folder.split("/") if part]
    return ["/"] + ["/" + "/".join(parts[: count + 1]) for count in range(len(parts))]


def _find_read(point: RestorePoint, folders: list[str]) -> set[str]:
    """Return which of these folders were read already. Runs one query."""
    keys = {folder_key(folder): folder for folder in folders}
    known = Listing.objects.filter(point=point, folder_key__in=keys).values_list("folder_key", flat=True)
    return {keys[key] for key in known}


def _newest_reading(point: RestorePoint, folder: str) -> Run | None:
    request = {"point": str(point.pk), "folder": encode_path(folder)}
    asked = Run.objects.filter(kind=Run.BROWSE, device=point.device_id, request=request)
    return asked.select_related("device").first()
