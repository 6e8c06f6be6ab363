"""One path through time: the strip of its versions in the restore points of its source."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe

from backupsite.fleet.models import Device
from backupsite.policies.naming import name_source
from backupsite.recovery.browse_page import icon_of, say_kind
from backupsite.recovery.folders import decode_folder, encode_path
from backupsite.recovery.index.through_time import Version, versions
from backupsite.recovery.models import RestorePoint
from backupsite.recovery.point_page import fault_context, folder_url
from backupsite.recovery.restore_picks import find_point
from backupsite.recovery.strips import draw_strip
from backupsite.web.formatting import format_bytes
from backupsite.web.visible import make_visible, shorten_middle


@dataclass(frozen=True)
class ShownVersion:
    """A version with its words. `number` counts the versions that were there, from 1; 0: it was not there."""

    version: Version
    number: int
    growth: int | None
    device: Device
    key: str

    @property
    def kind(self) -> str:
        return say_kind(self.version.kind or "")

    @property
    def count(self) -> int:
        return len(self.version.holders)

    @property
    def point_url(self) -> str:
        return reverse("point", args=[self.version.newest.point])

    @property
    def restore_url(self) -> str:
        fields = {"point": self.version.newest.point.hex, "path": self.key}
        return f"{reverse('device-restore', args=[self.device.slug])}?{urlencode(fields)}"

    @property
    def words(self) -> str:
        """What the strip says of it."""
        if not self.number:
            return "not there"
        return f"version {self.number}, {format_bytes(self.version.size_bytes)}"


@require_safe
def path_versions(request: HttpRequest, slug: str) -> HttpResponse:
    """`point` says which source is meant; without it the newest restore point of the device does."""
    device = get_object_or_404(Device, slug=slug)
    point = find_point(device, request.GET.get("point", ""))
    if point is None:
        raise Http404("the device has no restore point")
    try:
        path = decode_folder(request.GET.get("path", ""))
    except ValueError as error:
        raise Http404(str(error)) from None
    found = versions(device, point.source, path, part=point.part)
    if found == []:
        raise Http404("no restore point of this source holds the path")
    shown = show_versions(device, path, found or [])
    folder = path.rpartition("/")[0] or "/"
    context: dict[str, Any] = {
        "device": device,
        "point": point,
        "path": path,
        "name": path.rpartition("/")[2],
        "folder": folder,
        "folder_url": folder_url(point, folder),
        "source": name_source(point.source, point.part),
        "is_indexed": found is not None,
        **(fault_context(point) if found is None else {"fault": ""}),
        "rows": shown[::-1],
        "version_count": sum(1 for each in shown if each.number),
        "point_count": sum(each.count for each in shown if each.number),
        "is_deleted": bool(shown) and not shown[-1].number,
        "icon": icon_of(next((each.version.kind for each in shown[::-1] if each.version.kind), "file")),
        "strip": make_strip(shown),
        "crumbs": _crumbs(point, path),
    }
    return render(request, "recovery/versions.html", context)


def show_versions(device: Device, path: str, found: list[Version]) -> list[ShownVersion]:
    """Given the versions of a path, oldest first, return them with numbers and how each grew. Pure."""
    shown: list[ShownVersion] = []
    number, size = 0, None
    for version in found:
        if version.kind is None:
            shown.append(ShownVersion(version, 0, None, device, encode_path(path)))
            continue
        number += 1
        growth = version.size_bytes - size if size is not None else None
        shown.append(ShownVersion(version, number, growth, device, encode_path(path)))
        size = version.size_bytes
    return shown


def make_strip(shown: list[ShownVersion]) -> SafeString | None:
    """Given versions, return their strip; None for those of a single moment."""
    moments: list[tuple[datetime, str, bool]] = [
        (each.version.oldest.made_at, each.words, bool(each.number)) for each in shown
    ]
    points = [holder.made_at for each in shown for holder in each.version.holders]
    return draw_strip(moments, points) if len(points) > 1 else None


def _crumbs(point: RestorePoint, path: str) -> list[tuple[str, str]]:
    device = point.device
    return [
        ("Devices", reverse("devices")),
        (make_visible(device.name), device.get_absolute_url()),
        ("Restore points", reverse("device-points", args=[device.slug])),
        (shorten_middle(make_visible(path.rpartition("/")[2]), 60), ""),
    ]
