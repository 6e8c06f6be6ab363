"""The settings page of notices: where they go, and what became of the last ones."""

from __future__ import annotations

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from backupsite import vault
from backupsite.accounts.audit import record
from backupsite.accounts.tabs import settings_tabs
from backupsite.alerts.forms import TargetForm
from backupsite.alerts.models import Delivery, Notice, Target
from backupsite.alerts.notices import owner_of, tell_test

SHOWN = 20


@require_http_methods(["GET", "POST"])
def settings_notify(request: HttpRequest) -> HttpResponse:
    if request.method == "GET":
        if request.GET.get("part") == "notices":
            return render(request, "alerts/notices.html", _recent())
        return _page(request, TargetForm())
    form = TargetForm(request.POST)
    if not form.is_valid():
        return _page(request, form, status=422)
    _create(request, form)
    messages.success(request, "Saved. Send a test to see that it arrives.")
    return redirect("settings-notify")


def _create(request: HttpRequest, form: TargetForm) -> None:
    target = Target(
        name=form.cleaned_data["name"], scheme=form.address.scheme, masked_host=form.address.masked_host
    )
    target.sealed_url = vault.seal(owner_of(target), form.address.url)
    with transaction.atomic():
        target.save(force_insert=True)
        record(request, "target.added", target.name, {"scheme": target.scheme})


@require_POST
def settings_notify_test(request: HttpRequest, pk: int) -> HttpResponse:
    """Write a test notice; a worker sends it, because only workers can open the address."""
    target = get_object_or_404(Target, pk=pk)
    tell_test(target)
    return redirect("settings-notify")


@require_POST
def settings_notify_delete(request: HttpRequest, pk: int) -> HttpResponse:
    target = get_object_or_404(Target, pk=pk)
    with transaction.atomic():
        record(request, "target.deleted", target.name, {"scheme": target.scheme})
        target.delete()
    messages.success(request, f"Notices no longer go to “{target.name}”.")
    return redirect("settings-notify")


def _recent() -> dict[str, object]:
    """Return what alerts/notices.html needs. Runs two queries."""
    notices = list(Notice.objects.prefetch_related("deliveries")[:SHOWN])
    is_waiting = any(_is_new(delivery) for notice in notices for delivery in notice.deliveries.all())
    return {"notices": notices, "is_waiting": is_waiting}


def _is_new(delivery: Delivery) -> bool:
    # One that failed waits for minutes: looking every two seconds is for the ones that nobody tried yet.
    return delivery.next_at is not None and not delivery.result


def _page(request: HttpRequest, form: TargetForm, status: int = 200) -> HttpResponse:
    context = {
        "tabs": settings_tabs("settings-notify"),
        "form": form,
        "targets": Target.objects.order_by("name"),
        **_recent(),
    }
    return render(request, "alerts/settings_notify.html", context, status=status)
