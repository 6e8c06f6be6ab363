"""Downloads: asking for one, watching it being prepared, fetching it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from agents.browse import Archive
from agents.commands import to_bytes
from backupsite.accounts import audit
from backupsite.policies.naming import name_source
from backupsite.recovery.downloads import (
    MOST_PATHS,
    ask_download,
    file_name_of,
    file_of,
    paths_of,
    read_archive,
    tag_of,
    why_not_fetched,
)
from backupsite.recovery.folders import join
from backupsite.recovery.models import Download, RestorePoint
from backupsite.recovery.origins import BEST
from backupsite.recovery.picking import find_entries
from backupsite.recovery.point_page import folder_url, read_folder
from backupsite.recovery.serving import serve_file
from backupsite.runs.requests import ACTIVE
from backupsite.runs.states import State
from backupsite.runs.waiting import explain_one
from backupsite.web.formatting import format_count
from backupsite.web.visible import make_visible


@require_POST
def point_download(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """Prepare a download of the one entry that is named, or of the folder when none is."""
    point = get_object_or_404(
        RestorePoint.objects.select_related("device", "repository__storage__node"), pk=pk
    )
    folder = read_folder(point, request.POST.get("folder"))
    if why_not := why_not_fetched(point):
        messages.warning(request, why_not)
        return redirect(folder_url(point, folder))
    keys = request.POST.getlist("entry") or request.POST.getlist("name")
    archive = read_archive(request.POST.get("archive") or "zip")
    if not keys:
        return redirect(start_download(request, point, [folder], archive=archive))
    if len(keys) > MOST_PATHS:
        messages.warning(request, f"A download holds at most {MOST_PATHS} things: pick their folder.")
        return redirect(folder_url(point, folder))
    entries = find_entries(point, folder, keys)
    if len(entries) > 1:
        paths = [join(folder, entry.name) for entry in entries]
        return redirect(start_download(request, point, paths, archive=archive))
    entry = entries[0]
    if not (entry.is_file or entry.is_folder):
        messages.warning(request, "Only files and folders can be downloaded; links come with their folder.")
        return redirect(folder_url(point, folder))
    paths = [join(folder, entry.name)]
    return redirect(start_download(request, point, paths, archive=archive if entry.is_folder else ""))


def start_download(
    request: HttpRequest, point: RestorePoint, paths: Sequence[str], *, archive: Archive, origin: str = BEST
) -> str:
    """Ask for a download and return the address of its page."""
    with transaction.atomic():
        name = request.user.get_username()
        made = ask_download(point, paths, archive=archive, requested_by=name, origin=origin)
        audit.record(
            request, "download.ask", point.device.name, {"path": say_paths(paths), "point": str(point.pk)}
        )
    return reverse("download", args=[made.pk])


@require_safe
def download(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    shown = _own_download(request, pk)
    run = shown.run
    is_working = not shown.is_ready and run is not None and run.state in ACTIVE
    context: dict[str, Any] = {
        "download": shown,
        "run": run,
        "is_expired": shown.expires_at <= timezone.now() and not is_working,
        "is_working": is_working,
        "wait": explain_one(run, timezone.now()) if run is not None and is_working else None,
        "has_failed": run is not None and State(run.state).is_final and not State(run.state).is_good,
        "file_name": file_name_of(shown),
        "path": say_paths(paths_of(shown)),
    }
    if request.GET.get("part") == "state":
        return render(request, "recovery/download_state.html", context)
    context["crumbs"] = [
        ("Restore points", reverse("points")),
        (name_source(shown.point.source, shown.point.part), shown.point.get_absolute_url()),
        ("Download", ""),
    ]
    return render(request, "recovery/download.html", context)


@require_safe
def download_file(request: HttpRequest, pk: uuid.UUID) -> HttpResponseBase:
    """The file itself, or the rest of it when a fetch was cut. Its bytes are somebody's: the browser must
    neither guess nor run what they are."""
    wanted = _own_download(request, pk)
    if wanted.expires_at <= timezone.now():
        return render(request, "recovery/download_gone.html", {"download": wanted}, status=410)
    if not wanted.is_ready:
        raise Http404("not ready")
    try:
        file = file_of(wanted).open("rb")
    except FileNotFoundError:
        return render(request, "recovery/download_gone.html", {"download": wanted}, status=410)
    answer = serve_file(request, file, os.fstat(file.fileno()).st_size, tag_of(wanted))
    if answer.streaming:
        # A part is told too: many of them are the whole.
        detail: audit.Detail = {
            "path": say_paths(paths_of(wanted)),
            "bytes": int(answer["Content-Length"]),
        }
        audit.record(request, "download.fetch", wanted.point.device.name, detail)
    answer["Content-Disposition"] = attachment(file_name_of(wanted))
    answer["X-Content-Type-Options"] = "nosniff"
    answer["Content-Security-Policy"] = "sandbox; default-src 'none'"
    answer["Cache-Control"] = "private, no-store"
    return answer


def say_paths(paths: Sequence[str]) -> str:
    """Given what a download holds, return it in words, ready to be shown. Pure."""
    first = make_visible(paths[0])
    return f"{first} and {format_count(len(paths) - 1)} more" if len(paths) > 1 else first


def attachment(name: str) -> str:
    """Given a file's name with any bytes in it, return the header that makes a browser save it under it.

    Bytes that are no UTF-8 become U+FFFD, control and direction characters are made visible, a slash cannot
    be in it: the header is ASCII and cannot be split. Pure."""
    words = to_bytes(name).decode("utf-8", "replace")
    shown = make_visible(words).replace("/", "_").replace("\\", "_")
    return f"attachment; filename*=UTF-8''{quote(shown, safe='')}"


def _own_download(request: HttpRequest, pk: uuid.UUID) -> Download:
    """Only who asked for a download may see it: for others it does not exist."""
    found = Download.objects.select_related("point__device", "run__device")
    return get_object_or_404(found, pk=pk, requested_by=request.user.get_username())
