"""The page of what maintenance may read of a storage: what it read, what the limits mean, and its form."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from backupsite.accounts.audit import record
from backupsite.repositories.models import Storage
from backupsite.repositories.reading import (
    NO_LIMIT,
    Limits,
    count_held,
    count_used,
    find_closed,
    limits_of,
)
from backupsite.repositories.reading_outlook import look_ahead
from backupsite.web.visible import make_visible

_GB = 10**9
AUTOMATIC, UNLIMITED, OWN = "automatic", "unlimited", "own"
_FIELDS = ("reading_budget_bytes", "reading_from", "reading_until", "maintenance_mb_s")


class ReadingForm(forms.Form):
    budget = forms.ChoiceField(
        label="Budget of a month",
        choices=[
            (AUTOMATIC, "As the kind of storage proposes"),
            (UNLIMITED, "Any amount"),
            (OWN, "At most the amount below"),
        ],
        help_text="Proposed: any amount for a directory; for an object store twice what it holds, and 10 GB.",
    )
    budget_gb = forms.IntegerField(label="Amount (GB)", required=False, min_value=1, max_value=10**7)
    begins = forms.TimeField(
        label="Read from (UTC)", required=False, help_text="Like 22:00. Empty: at any hour."
    )
    ends = forms.TimeField(label="until (UTC)", required=False, help_text="Like 06:00, of the next day too.")
    rate = forms.IntegerField(
        label="Read and copy at most (MB/s)", required=False, min_value=1, max_value=100_000,
        help_text="Empty: checks read 100 MB/s at most, copies as fast as they go.",
    )  # fmt: skip

    def clean(self) -> None:
        data = self.cleaned_data
        if data.get("budget") == OWN and not data.get("budget_gb") and "budget_gb" not in self.errors:
            self.add_error("budget_gb", "Say how many GB.")
        begins, ends = data.get("begins"), data.get("ends")
        if "begins" in self.errors or "ends" in self.errors:
            return
        if (begins is None) != (ends is None):
            self.add_error("ends" if ends is None else "begins", "Say both, or leave both empty.")
        elif begins is not None and begins == ends:
            self.add_error("ends", "Nothing would ever be read. Leave both empty for any hour.")

    def values(self) -> dict[str, Any]:
        """Return the fields of the storage that a valid form says."""
        data = self.cleaned_data
        own = (data["budget_gb"] or 0) * _GB
        budget = {AUTOMATIC: None, UNLIMITED: NO_LIMIT, OWN: own}[data["budget"]]
        return dict(zip(_FIELDS, (budget, data["begins"], data["ends"], data["rate"]), strict=True))


@require_http_methods(["GET", "POST"])
def storage_reading(request: HttpRequest, pk: int) -> HttpResponse:
    storage = get_object_or_404(Storage.objects.select_related("node"), pk=pk)
    if request.method == "GET":
        return _render(request, storage, ReadingForm(initial=_initial(storage)))
    form = ReadingForm(request.POST)
    if not form.is_valid():
        return _render(request, storage, form, status=422)
    values = form.values()
    with transaction.atomic():
        Storage.objects.filter(pk=storage.pk).update(**values)
        record(request, "storage.reading", storage.path, {name: str(said) for name, said in values.items()})
    messages.success(request, f"Maintenance of {make_visible(storage.name)} keeps to these limits now.")
    return redirect("storage-reading", pk=pk)


def _initial(storage: Storage) -> dict[str, Any]:
    budget = storage.reading_budget_bytes
    kind = AUTOMATIC if budget is None else OWN if budget else UNLIMITED
    return {
        "budget": kind,
        "budget_gb": max(budget // _GB, 1) if budget else None,
        "begins": storage.reading_from,
        "ends": storage.reading_until,
        "rate": storage.maintenance_mb_s,
    }


def _render(request: HttpRequest, storage: Storage, form: ReadingForm, status: int = 200) -> HttpResponse:
    now, held = timezone.now(), count_held(storage)
    limits, used = limits_of(storage, held), count_used(storage, timezone.now())
    context = {
        "storage": storage,
        "form": form,
        "limits": limits,
        "used_bytes": used,
        "used_percent": _percent(limits, used),
        "outlook": look_ahead(limits, held),
        "closed": find_closed(limits, used, now),
        "now": now,
        "crumbs": [("Repositories", reverse("repositories")), (make_visible(storage.name), "")],
    }
    return render(request, "repositories/storage_reading.html", context, status=status)


def _percent(limits: Limits, used_bytes: int) -> int:
    return min(round(100 * used_bytes / limits.budget_bytes), 100) if limits.budget_bytes else 0
