"""The lists of runs, a run's log as text, and the two buttons: back up now, and cancel."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from backupsite.accounts import audit
from backupsite.fleet.models import Device
from backupsite.fleet.tabs import make_tabs
from backupsite.policies.models import Policy
from backupsite.policies.windows import COLD, HOT, MODE_BOTH, MODE_COLD, MODE_HOT, Window
from backupsite.runs.listing import Filters, make_chips, read_page
from backupsite.runs.log import write_text
from backupsite.runs.models import Run
from backupsite.runs.requests import cancel_run, request_run
from backupsite.web.visible import make_visible


@require_safe
def runs(request: HttpRequest) -> HttpResponse:
    filters = Filters.of(request.GET)
    context = _list_context(request, filters)
    context["wanted_device"] = filters.device
    return render(request, "runs/runs.html", context)


@require_safe
def device_runs(request: HttpRequest, slug: str) -> HttpResponse:
    device = get_object_or_404(Device, slug=slug)
    context = _list_context(request, Filters.of(request.GET), device)
    context |= {
        "device": device,
        "tabs": make_tabs(device, "device-runs"),
        "crumbs": [
            ("Devices", reverse("devices")),
            (make_visible(device.name), device.get_absolute_url()),
            ("Runs", ""),
        ],
    }
    return render(request, "runs/device_runs.html", context)


def _list_context(request: HttpRequest, filters: Filters, device: Device | None = None) -> dict[str, Any]:
    page, rows = read_page(filters, device, request.GET.get("page"))
    kinds, states = make_chips(request.GET, filters)
    return {"page": page, "rows": rows, "kinds": kinds, "states": states, "is_filtered": filters.is_set}


@require_safe
def run_log(request: HttpRequest, number: int) -> HttpResponseBase:
    run = get_object_or_404(Run.objects.select_related("device"), number=number)
    answer = StreamingHttpResponse(
        (line.encode() for line in write_text(run)), content_type="text/plain; charset=utf-8"
    )
    answer["Content-Disposition"] = f'attachment; filename="hotfleet-run-{run.number}.txt"'
    return answer


@require_POST
def run_cancel(request: HttpRequest, number: int) -> HttpResponse:
    run = get_object_or_404(Run.objects.select_related("device"), number=number)
    with transaction.atomic():
        is_asked = cancel_run(run, by=request.user.get_username())
        if is_asked:
            audit.record(
                request, "run.cancel", f"run {run.number}", {"device": run.device.name, "kind": run.kind}
            )
    if not is_asked:
        messages.info(request, "This run had ended already.")
    return redirect(run)


@require_POST
def device_backup(request: HttpRequest, slug: str) -> HttpResponse:
    """Back up now: by the policy that is named, or by every policy of the device. Hot, unless cold is asked
    for: nothing is stopped by accident."""
    device = get_object_or_404(Device, slug=slug)
    window = COLD if request.POST.get("window") == COLD else HOT
    modes = (MODE_COLD, MODE_BOTH) if window == COLD else (MODE_HOT, MODE_BOTH)
    policies = Policy.objects.filter(devices=device, sources__mode__in=modes).distinct()
    wanted = request.POST.get("policy", "")
    if wanted:
        policies = policies.filter(slug=wanted[:80])
    started = _start_backups(request, device, list(policies), window)
    if not started:
        messages.warning(request, _why_nothing(device, wanted))
        return redirect(device)
    if len(started) == 1:
        return redirect(started[0])
    messages.success(request, f"{len(started)} backups were started, one for each policy.")
    return redirect("device-runs", device.slug)


def _start_backups(request: HttpRequest, device: Device, policies: list[Policy], window: Window) -> list[Run]:
    name = request.user.get_username()
    with transaction.atomic():
        started = [
            request_run(Run.BACKUP, device, policy=policy, request={"window": window}, requested_by=name)
            for policy in policies
        ]
        for run in started:
            audit.record(request, "device.backup", device.name, {"run": run.number, "window": window})
    return started


def _why_nothing(device: Device, wanted: str) -> str:
    if wanted:
        return "The device is no longer under that policy, so nothing was started."
    return (
        f"No policy says what to back up on {make_visible(device.name)}. "
        "Write a policy for it, then start the backup."
    )
