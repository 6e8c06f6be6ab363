"""Looking for a file in the restore points of a device or of the fleet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.core.paginator import Paginator
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_safe

from backupsite.fleet.models import Device
from backupsite.policies.naming import name_source
from backupsite.recovery.browse_page import icon_of, say_kind
from backupsite.recovery.index.searching import MOST_FOUND, Found, Hit, search
from backupsite.recovery.models import RestorePoint
from backupsite.recovery.search_form import SearchForm
from backupsite.repositories.nodes import list_elsewhere
from backupsite.web.status import Status

PAGE_SIZE = 50
DELETED = Status("Deleted since", "warn", "trash")


@dataclass(frozen=True)
class ShownHit:
    """A hit with its words and where one goes from it."""

    hit: Hit
    device: Device

    @property
    def icon(self) -> str:
        return icon_of(self.hit.kind)

    @property
    def kind(self) -> str:
        return say_kind(self.hit.kind)

    @property
    def source(self) -> str:
        return name_source(self.hit.source, self.hit.part)

    @property
    def state(self) -> Status | None:
        return DELETED if self.hit.is_deleted else None

    @property
    def newest_at(self) -> datetime:
        return datetime.fromtimestamp(self.hit.newest_at, UTC)

    @property
    def versions_url(self) -> str:
        where = reverse("path-versions", args=[self.device.slug])
        return f"{where}?{urlencode({'point': str(self.hit.newest), 'path': self.hit.key})}"

    @property
    def folder_url(self) -> str:
        """Its folder in the newest restore point that holds it; of a folder itself, what is in it."""
        key = self.hit.key if self.hit.kind == "dir" else self.hit.folder_key
        return f"{reverse('point', args=[self.hit.newest])}?{urlencode({'folder': key})}"

    @property
    def restore_url(self) -> str:
        where = reverse("device-restore", args=[self.device.slug])
        return f"{where}?{urlencode({'point': str(self.hit.newest), 'path': self.hit.key})}"


@require_safe
def search_files(request: HttpRequest) -> HttpResponse:
    form = SearchForm(request.GET)
    is_valid = form.is_valid()
    context: dict[str, Any] = {
        "form": form,
        "crumbs": [("Restore points", reverse("points")), ("Find a file", "")],
        "most_found": MOST_FOUND,
        "is_asked": False,
        "opens_limits": form.has_limits,
    }
    if is_valid and not form.query.is_empty:
        context |= _find(form, request.GET.get("page"))
    return render(request, "recovery/search.html", context, status=200 if is_valid else 422)


def _find(form: SearchForm, number: str | None) -> dict[str, Any]:
    """Search and cut into pages. Runs three queries, two more where there are nodes."""
    wanted: Device | None = form.cleaned_data["device"]
    asked = [wanted] if wanted is not None else list(_list_devices(form))
    elsewhere = set(list_elsewhere().values_list("pk", flat=True))
    devices = [device for device in asked if device.pk not in elsewhere]
    found: Found = search(devices, form.query)
    page = Paginator(found.hits, PAGE_SIZE).get_page(number)
    return {
        "is_asked": True,
        "found": found,
        "page": page,
        "rows": _show(page.object_list, devices),
        "shows_device": wanted is None,
        "elsewhere_count": len(asked) - len(devices),
        "missing_count": _count_missing(found),
        "milliseconds": found.seconds * 1000,
    }


def _count_missing(found: Found) -> int:
    """Return how many restore points of the devices that were searched are not in their index (yet)."""
    made = RestorePoint.objects.filter(device__in=found.point_counts).order_by().values_list("device")
    return sum(
        max(0, count - found.point_counts[device]) for device, count in made.annotate(count=Count("pk"))
    )


def _list_devices(form: SearchForm) -> QuerySet[Device]:
    offered: Any = form.fields["device"]
    devices: QuerySet[Device] = offered.queryset
    return devices


def _show(hits: Iterable[Hit], devices: list[Device]) -> list[ShownHit]:
    known = {device.pk: device for device in devices}
    return [ShownHit(hit, known[hit.device_id]) for hit in hits]
