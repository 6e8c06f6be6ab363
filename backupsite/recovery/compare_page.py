"""Two restore points of one source beside each other: what was added, changed and removed, by folder."""

from __future__ import annotations

import uuid
from typing import Any

from django.core.paginator import Page, Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_safe

from backupsite.policies.naming import name_source
from backupsite.recovery.folders import encode_path
from backupsite.recovery.index.comparing import (
    ENTRIES_SIZE,
    FOLDERS_SIZE,
    Change,
    compare,
    compare_folder,
)
from backupsite.recovery.models import RestorePoint
from backupsite.recovery.point_page import fault_context, read_folder
from backupsite.web.status import Status
from backupsite.web.visible import make_visible

MOST_OFFERED = 100
STATES = {
    "added": Status("Added", "good", "plus"),
    "changed": Status("Changed", "warn", "edit"),
    "removed": Status("Removed", "bad", "trash"),
}


class ShownChange:
    """A change with its words."""

    def __init__(self, change: Change) -> None:
        self.change = change
        self.state = STATES[change.what]


@require_safe
def point_compare(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """Go to the comparison with the restore point `with`, or with the one before when none is named."""
    point = get_object_or_404(RestorePoint.objects.select_related("device"), pk=pk)
    same = _same_source(point)
    if text := request.GET.get("with"):
        try:
            other = get_object_or_404(same, pk=uuid.UUID(text))
        except ValueError:
            raise Http404("not an id") from None
    else:
        before = same.filter(made_at__lt=point.made_at).first()
        other = before if before is not None else point
    old, new = sorted((other, point), key=lambda each: each.made_at)
    return redirect(reverse("points-compare", args=[old.pk, new.pk]))


@require_safe
def points_compare(request: HttpRequest, old_pk: uuid.UUID, new_pk: uuid.UUID) -> HttpResponse:
    old = get_object_or_404(RestorePoint.objects.select_related("device"), pk=old_pk)
    new = get_object_or_404(_same_source(old), pk=new_pk)
    context: dict[str, Any] = {
        "device": old.device,
        "old": old,
        "new": new,
        "source": name_source(old.source, old.part),
        "is_one": old == new,
        "offered": list(_same_source(old)[:MOST_OFFERED]),
        "crumbs": [
            ("Restore points", reverse("points")),
            (make_visible(old.device.name), reverse("device-points", args=[old.device.slug])),
            ("Compare", ""),
        ],
    }
    context |= _folder(request, old, new) if request.GET.get("folder") else _folders(request, old, new)
    return render(request, "recovery/compare.html", context)


def _same_source(point: RestorePoint) -> Any:
    """All restore points that can be compared with this one, newest first, itself among them."""
    found = RestorePoint.objects.select_related("device")
    return found.filter(device=point.device_id, source=point.source, part=point.part)


def _folders(request: HttpRequest, old: RestorePoint, new: RestorePoint) -> dict[str, Any]:
    number = _number(request)
    made = compare(old, new, page=number)
    if made is None:
        return _not_indexed(old, new)
    return {
        "is_indexed": True,
        "counts": made.counts,
        "folders": made.folders,
        "page": _page(made.folder_count, FOLDERS_SIZE, number),
    }


def _folder(request: HttpRequest, old: RestorePoint, new: RestorePoint) -> dict[str, Any]:
    folder, number = read_folder(old, request.GET.get("folder")), _number(request)
    made = compare_folder(old, new, folder, page=number)
    if made is None:
        return _not_indexed(old, new)
    return {
        "is_indexed": True,
        "folder": folder,
        "folder_key": encode_path(folder),
        "changes": [ShownChange(each) for each in made.changes],
        "page": _page(made.total, ENTRIES_SIZE, number),
    }


def _not_indexed(old: RestorePoint, new: RestorePoint) -> dict[str, Any]:
    said = fault_context(old)
    return {"is_indexed": False, **(said if said["fault"] else fault_context(new))}


def _page(total: int, size: int, number: int) -> Page[int]:
    return Paginator(range(total), size).get_page(number)


def _number(request: HttpRequest) -> int:
    text = request.GET.get("page", "")
    return max(1, min(int(text), 1_000_000)) if text.isascii() and text.isdigit() else 1
