"""The page of a restore: from which moment, what, where to, and what will happen."""

from __future__ import annotations

import posixpath
import uuid
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Max, Q
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from backupsite.accounts import audit
from backupsite.fleet.models import Device
from backupsite.recovery.download_pages import start_download
from backupsite.recovery.folders import Entry, encode_path, join
from backupsite.recovery.index.reading import measure
from backupsite.recovery.models import RestorePoint
from backupsite.recovery.picking import find_entries, find_paths, make_entry
from backupsite.recovery.point_page import folder_url, read_folder
from backupsite.recovery.restore_form import TO_DOWNLOAD, TO_FOLDER, RestoreForm, say_moment
from backupsite.recovery.restores import ask_restore
from backupsite.recovery.words import ShownPoint, say_what
from backupsite.web.visible import make_visible

SAME_SOURCE, OTHER_SOURCES = 3, 4
MOST_SHOWN = 12


@dataclass(frozen=True)
class Picked:
    """What is to be restored: all of `folder`, or its `entries`."""

    point: RestorePoint
    folder: str
    entries: tuple[Entry, ...]

    @property
    def is_whole_source(self) -> bool:
        return self.folder == self.point.top_folder and not self.entries

    @property
    def words(self) -> str:
        return say_what(self.folder, [entry.name for entry in self.entries])

    @property
    def known_size_bytes(self) -> int | None:
        """Its size; None when a folder is in it and the restore point is not in the index."""
        if self.is_whole_source:
            return self.point.size_bytes
        if self.entries and all(entry.is_file for entry in self.entries):
            return sum(entry.size_bytes for entry in self.entries)
        paths = [join(self.folder, entry.name) for entry in self.entries] or [self.folder]
        measured = measure(self.point, paths)
        return measured.bytes if measured is not None else None

    @property
    def download_path(self) -> str | None:
        """What a download would hold; None when it is more than one thing, or a link."""
        if not self.entries:
            return self.folder
        only = self.entries[0]
        is_one = len(self.entries) == 1 and (only.is_file or only.is_folder)
        return join(self.folder, only.name) if is_one else None

    @property
    def is_folder_download(self) -> bool:
        return not self.entries or self.entries[0].is_folder


@require_http_methods(["GET", "HEAD", "POST"])
def device_restore(request: HttpRequest, slug: str) -> HttpResponse:
    device = get_object_or_404(Device, slug=slug)
    given = request.POST if request.method == "POST" else request.GET
    point = find_point(device, given.get("point", ""))
    if point is None:
        return render(request, "recovery/restore_nothing.html", {"device": device, "crumbs": _crumbs(device)})
    picked = read_picked(point, given)
    # Posted by the file browser: a long list of names does not fit into an address. Nothing is done yet.
    is_answer = request.method == "POST" and "to" in given
    form = RestoreForm(
        given if is_answer else None,
        initial={"point": str(point.pk), "to": given.get("to", TO_FOLDER)},
        points=[point] if not picked.is_whole_source else offer_points(point),
        device_name=device.name,
        is_picked=not picked.is_whole_source,
    )
    if is_answer and request.GET.get("part") == "outcome":
        form.is_valid()
        return render(
            request, "recovery/restore_outcome.html", _context(device, picked, form) | {"is_part": True}
        )
    if is_answer and form.is_valid() and (done := _start(request, picked, form)) is not None:
        return done
    if not form.is_bound:
        form.initial["target"] = form.folder_or_default
    status = 422 if is_answer else 200
    return render(request, "recovery/restore.html", _context(device, picked, form), status=status)


def find_point(device: Device, text: str) -> RestorePoint | None:
    """Given a restore point's id as typed, return it if it is one of the device; without one the device's
    newest, None when there is none. Raise Http404 when it is another device's or nobody's."""
    found = RestorePoint.objects.filter(device=device).select_related("device")
    if not text:
        return found.first()
    try:
        return get_object_or_404(found, pk=uuid.UUID(text))
    except ValueError:
        raise Http404("not an id") from None


def read_picked(point: RestorePoint, given: QueryDict) -> Picked:
    """Given a restore point and what an address or a form names in it, return it. Raise Http404 when it is
    not there."""
    if paths := given.getlist("path"):
        found = find_paths(point, paths)
        above = posixpath.commonpath([entry.folder for entry in found])
        return Picked(point, above, tuple(make_entry(entry, above) for entry in found))
    folder, keys = read_folder(point, given.get("folder")), given.getlist("name")
    return Picked(point, folder, tuple(find_entries(point, folder, keys)) if keys else ())


def offer_points(point: RestorePoint) -> list[RestorePoint]:
    """Given a restore point, return it with the newest ones of its source and the newest of other sources.
    Runs three queries."""
    found = RestorePoint.objects.filter(device=point.device).select_related("device")
    same = found.filter(source=point.source, part=point.part)
    offered = {each.pk: each for each in same[:SAME_SOURCE]} | {point.pk: point}
    others = found.exclude(source=point.source).order_by().values_list("source")
    newest = list(others.annotate(newest=Max("made_at")).order_by("-newest")[:OTHER_SOURCES])
    if newest:
        wanted = Q()
        for source, made_at in newest:
            wanted |= Q(source=source, made_at=made_at)
        offered |= {each.pk: each for each in found.filter(wanted)}
    return sorted(offered.values(), key=lambda each: (each.source != point.source, -each.made_at.timestamp()))


def _start(request: HttpRequest, picked: Picked, form: RestoreForm) -> HttpResponse | None:
    """Start what was asked for; None when the form got an error instead."""
    if form.cleaned_data["to"] == TO_DOWNLOAD:
        path = picked.download_path
        if path is None:
            form.add_error(
                "to", "A download holds one file or one folder. Pick one, or restore into a folder."
            )
            return None
        return redirect(start_download(request, picked.point, path, is_folder=picked.is_folder_download))
    target = form.cleaned_data["target"]
    with transaction.atomic():
        run = ask_restore(
            picked.point,
            folder=picked.folder,
            names=[entry.name for entry in picked.entries],
            target=target,
            size_bytes=picked.known_size_bytes or 0,
            requested_by=request.user.get_username(),
        )
        detail = {"run": run.number, "what": picked.words, "target": target, "point": str(picked.point.pk)}
        audit.record(request, "device.restore", picked.point.device.name, detail)
    return redirect(run)


def _context(device: Device, picked: Picked, form: RestoreForm) -> dict[str, Any]:
    moment = say_moment(picked.point)
    return {
        "device": device,
        "form": form,
        "point": picked.point,
        "shown": ShownPoint(picked.point),
        "picked": picked,
        "shown_entries": picked.entries[:MOST_SHOWN],
        "more_count": max(0, len(picked.entries) - MOST_SHOWN),
        "folder_key": encode_path(picked.folder),
        "browse_url": folder_url(picked.point, picked.folder),
        "moment": moment,
        "moment_words": moment[0].lower() + moment[1:],
        "target": form.folder_or_default,
        "is_download": (form["to"].value() or TO_FOLDER) == TO_DOWNLOAD,
        "point_count": RestorePoint.objects.filter(device=device).count(),
        "crumbs": _crumbs(device),
    }


def _crumbs(device: Device) -> list[tuple[str, str]]:
    name = make_visible(device.name)
    return [("Devices", reverse("devices")), (name, device.get_absolute_url()), ("Restore", "")]
