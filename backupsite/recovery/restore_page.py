"""The page of a restore: from which moment, what, where to, and what will happen."""

from __future__ import annotations

import uuid
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from agents.restore import Conflict, Mode
from backupsite.accounts import audit
from backupsite.fleet.models import Device
from backupsite.recovery.asking import FormWasSent
from backupsite.recovery.download_pages import start_download
from backupsite.recovery.downloads import MOST_PATHS, read_archive, why_not_fetched
from backupsite.recovery.folders import encode_path
from backupsite.recovery.forecasts import Foresight, ask_forecast, find_forecast
from backupsite.recovery.models import RestorePoint
from backupsite.recovery.point_page import folder_url
from backupsite.recovery.restore_form import (
    TO_DEVICE,
    TO_DOWNLOAD,
    TO_FOLDER,
    TO_ORIGINAL,
    RestoreForm,
    check_target,
    has_original_place,
    say_moment,
)
from backupsite.recovery.restore_picks import (
    Picked,
    find_point,
    list_applications,
    offer_points,
    read_picked,
)
from backupsite.recovery.restores import ask_restore
from backupsite.recovery.sharing import list_newest_of_others
from backupsite.recovery.wishes import Wish, say_sharing, why_not_saved
from backupsite.recovery.words import ShownPoint
from backupsite.runs.models import Run
from backupsite.runs.waiting import explain_one
from backupsite.web.formatting import format_count
from backupsite.web.visible import make_visible

MOST_SHOWN = 12
LONGEST_NAME = 64
NO_DOWNLOAD = f"A download holds up to {MOST_PATHS} files, folders and links: pick their folder."


@require_http_methods(["GET", "HEAD", "POST"])
def device_restore(request: HttpRequest, slug: str) -> HttpResponse:
    device = get_object_or_404(Device, slug=slug)
    given = request.POST if request.method == "POST" else request.GET
    point = find_point(device, given.get("point", ""))
    if point is None:
        context = {"device": device, "shared": _list_shared(device), "crumbs": _crumbs(device)}
        return render(request, "recovery/restore_nothing.html", context)
    picked = read_picked(point, given)
    # Posted by the file browser: a long list of names does not fit into an address. Nothing is done yet.
    is_answer = request.method == "POST" and "to" in given
    place = TO_ORIGINAL if has_original_place(point) else TO_FOLDER
    form = RestoreForm(
        given if is_answer else None,
        initial={
            "point": str(point.pk),
            "to": given.get("to", place),
            "onto": given.get("onto", "")[:LONGEST_NAME],
            "conflict": Conflict.KEEP_BOTH.value,
            "archive": "zip",
            "safety": True,
            "token": uuid.uuid4(),
            "origin": given.get("origin", ""),
        },
        points=[point] if not picked.is_whole_source else offer_points(point),
        device=device,
        is_picked=not picked.is_whole_source,
    )
    part = request.GET.get("part", "") if is_answer else ""
    if part in ("outcome", "forecast"):
        return _show_outcome(request, device, picked, form, asks=part == "forecast")
    if is_answer and form.is_valid() and (done := _start(request, picked, form)) is not None:
        return done
    if not form.is_bound:
        form.initial["target"] = form.folder_or_default
    status = 422 if is_answer else 200
    return render(request, "recovery/restore.html", _context(device, picked, form), status=status)


def _show_outcome(
    request: HttpRequest, device: Device, picked: Picked, form: RestoreForm, *, asks: bool
) -> HttpResponse:
    """Answer a change of the form, or a look at the device: the column beside it; all of it without htmx."""
    wish = make_wish(picked, form)
    if asks and wish is not None:
        ask_forecast(wish, requested_by=request.user.get_username())
    context = _context(device, picked, form)
    if request.headers.get("HX-Request") != "true" and asks:
        return render(request, "recovery/restore.html", context)
    return render(request, "recovery/restore_outcome.html", context | {"is_part": True})


def make_wish(picked: Picked, form: RestoreForm) -> Wish | None:
    """Given what was picked and the form as it stands now, return what is wished; None while that is not
    clear, or a download."""
    place, target = form.place, None
    if place == TO_DOWNLOAD:
        return None
    if place in (TO_FOLDER, TO_DEVICE):
        try:
            target = check_target(form.folder_or_default)
        except ValueError:
            return None
    elif picked.folder == "/" and not picked.entries:
        return None
    if place == TO_DEVICE and form.where == form.device:
        return None
    said = str(form["conflict"].value() or "")
    return Wish(
        point=picked.point,
        folder=picked.folder,
        names=tuple(entry.name for entry in picked.entries),
        target=target,
        conflict=Conflict(said) if said in list(Conflict) else Conflict.KEEP_BOTH,
        mode=_mode_of(form),
        is_whole_system=bool(form["whole_system"].value()),
        size_bytes=picked.known_size_bytes or 0,
        onto=form.where if place == TO_DEVICE else None,
        origin=form.wanted_origin,
    )


def _mode_of(form: RestoreForm) -> Mode:
    if form["direct"].value():
        return Mode.DIRECT
    return Mode.EXACT if form["exact"].value() else Mode.MERGE


def _start(request: HttpRequest, picked: Picked, form: RestoreForm) -> HttpResponse | None:
    """Start what was asked for; None when the form got an error instead."""
    if form.cleaned_data["to"] == TO_DOWNLOAD:
        paths = picked.download_paths
        if why_not := _why_no_download(picked):
            form.add_error("to", why_not)
            return None
        archive = read_archive(form.cleaned_data["archive"] or "zip") if picked.is_folder_download else ""
        origin = form.cleaned_data["origin"]
        return redirect(start_download(request, picked.point, paths, archive=archive, origin=origin))
    wish = make_wish(picked, form)
    if wish is None:
        form.add_error("to", "All of / does not go to its original place: pick the folders that shall.")
        return None
    has_safety = wish.replaces and form.cleaned_data["safety"]
    if has_safety and (why_not := why_not_saved(wish)):
        form.add_error("safety", why_not)
        return None
    try:
        return redirect(_ask(request, picked, wish, str(form.cleaned_data["token"]), has_safety=has_safety))
    except FormWasSent as error:
        form.add_error(None, str(error))
        return None


def _ask(request: HttpRequest, picked: Picked, wish: Wish, token: str, *, has_safety: bool) -> str:
    """Ask for the restore and return the address of its run. Raise FormWasSent as `ask_once` does."""

    def note(run: Run) -> None:
        detail: dict[str, str | int | bool] = {
            "run": run.number,
            "what": picked.words,
            "onto": make_visible(wish.device.name),
            "target": make_visible(wish.target or "its original place"),
            "point": str(picked.point.pk),
            "conflict": wish.conflict.value,
            "mode": wish.mode.value,
            "whole_system": wish.is_whole_system,
            "safety": has_safety,
            "from": wish.origin,
        }
        audit.record(request, "device.restore", picked.point.device.name, detail)

    name = request.user.get_username()
    run = ask_restore(wish, has_safety=has_safety, token=token, requested_by=name, note=note)
    return run.get_absolute_url()


def _context(device: Device, picked: Picked, form: RestoreForm) -> dict[str, Any]:
    moment = say_moment(picked.point)
    wish = make_wish(picked, form)
    seen = find_forecast(wish) if wish is not None else None
    return {
        "device": device,
        "form": form,
        "point": picked.point,
        "shown": ShownPoint(picked.point),
        "applications": [
            ShownPoint(each)
            for each in list_applications(form.points.values())
            if each.source != picked.point.source
        ],
        "shared": _list_shared(device),
        "picked": picked,
        "shown_entries": picked.entries[:MOST_SHOWN],
        "more_count": max(0, len(picked.entries) - MOST_SHOWN),
        "folder_key": encode_path(picked.folder),
        "browse_url": folder_url(picked.point, picked.folder),
        "moment": moment,
        "moment_words": moment[0].lower() + moment[1:],
        "target": form.folder_or_default,
        "place": form.place,
        "no_download": _why_no_download(picked),
        "is_download": form.place == TO_DOWNLOAD,
        "is_original": form.place == TO_ORIGINAL,
        "wish": wish,
        "replaces": wish is not None and wish.replaces,
        "sharing": say_sharing(wish) if wish is not None else "",
        "seen": seen,
        "seen_wait": explain_one(seen.run, timezone.now()) if seen is not None and seen.is_working else None,
        "looks_by_itself": wish is not None and wish.target is None and seen is None,
        "where": form.where,
        "origin": form.find_origin(picked.point),
        "is_other": form.place == TO_DEVICE,
        "file_count": _count_files(picked, seen),
        "act": _say_act(form.where, picked, wish, seen),
        "point_count": RestorePoint.objects.filter(device=device).count(),
        "crumbs": _crumbs(device),
    }


def _why_no_download(picked: Picked) -> str:
    return why_not_fetched(picked.point) or ("" if picked.download_paths else NO_DOWNLOAD)


def _list_shared(device: Device) -> list[ShownPoint]:
    return [ShownPoint(each) for each in list_newest_of_others(device)]


def _say_act(device: Device, picked: Picked, wish: Wish | None, seen: Foresight | None) -> str:
    """Return the words of the button: what it does, to how much."""
    said = seen.said if seen is not None else {}
    count = _count_files(picked, seen)
    name = make_visible(device.name)
    if wish is not None and wish.mode is not Mode.MERGE:
        return (
            f"Replace all of it on {name}" if count is None else f"Replace by {_say_files(count)} on {name}"
        )
    if wish is not None and wish.replaces:
        existing = min(said.get("existing", 0), count or 0)
        if existing:
            rest = f", add {format_count(count - existing)}" if count > existing else ""
            return f"Replace {_say_files(existing)}{rest} on {name}"
        if not said:
            return f"Replace what is there on {name}"
    if count is None:
        return f"Restore {len(picked.entries)} entries" if len(picked.entries) > 1 else "Restore this"
    return f"Restore {_say_files(count)}"


def _count_files(picked: Picked, seen: Foresight | None) -> int | None:
    """How many files come: links count, where the device was asked."""
    count: int | None = seen.said.get("files") if seen is not None else None
    return count if count is not None else picked.known_file_count


def _say_files(count: int) -> str:
    return f"{format_count(count)} file{'s' if count != 1 else ''}"


def _crumbs(device: Device) -> list[tuple[str, str]]:
    name = make_visible(device.name)
    return [("Devices", reverse("devices")), (name, device.get_absolute_url()), ("Restore", "")]
