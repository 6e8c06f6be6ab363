"""Tags: what has them, which are sites; a tag is renamed, or goes with what follows from that."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.db import transaction
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from backupsite.fleet.devices import actor_of
from backupsite.fleet.models import Device, Tag
from backupsite.fleet.names import clean_name
from backupsite.fleet.tags import LONGEST, change_tag
from backupsite.policies.models import Policy, PolicyDevice
from backupsite.policies.tag_removal import forecast, remove_tag
from backupsite.recovery.stored import lock, restate
from backupsite.web.visible import make_visible

PAGE_SIZE = 100
MOST_RUNS = 1000


class TagForm(forms.Form):
    """A tag's name, and whether the devices with it stand in one place."""

    name = forms.CharField(max_length=200, strip=False)
    is_site = forms.BooleanField(
        required=False,
        label="These devices stand in one place",
        help_text="When nobody there answers any more, that is one alert, and others go on.",
    )
    most_runs = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=MOST_RUNS,
        label="At most so many runs at once there",
        help_text="Only for a place. Empty: as many as there are workers.",
        error_messages={"invalid": "Write a whole number, like 4, or nothing."},
    )

    def clean_name(self) -> str:
        try:
            name = clean_name(self.cleaned_data["name"], longest=LONGEST)
        except ValueError as error:
            raise forms.ValidationError(str(error)) from error
        if any(separator in name for separator in ",;"):
            raise forms.ValidationError("A tag holds no comma and no semicolon: they stand between tags.")
        return name


@require_safe
def tags(request: HttpRequest) -> HttpResponse:
    page = Paginator(with_counts(Tag.objects.order_by("name")), PAGE_SIZE).get_page(request.GET.get("page"))
    context = {
        "tags": page.object_list,
        "page": page,
        "crumbs": [("Devices", reverse("devices")), ("Tags", "")],
    }
    return render(request, "console/tags.html", context)


def with_counts(found: QuerySet[Tag]) -> Any:
    """Given tags, return them with how many devices and policies have them."""
    return found.annotate(
        device_count=_count(Device.tags.through.objects), policy_count=_count(Policy.tags.through.objects)
    )


def _count(rows: Any) -> Coalesce:
    counted = rows.filter(tag=OuterRef("pk")).order_by().values("tag").annotate(total=Count("pk"))
    return Coalesce(Subquery(counted.values("total")), 0)


@require_http_methods(["GET", "HEAD", "POST"])
def tag_edit(request: HttpRequest, pk: int) -> HttpResponse:
    tag = get_object_or_404(with_counts(Tag.objects.all()), pk=pk)
    begin = {"name": tag.name, "is_site": tag.is_site, "most_runs": tag.most_runs}
    form = TagForm(request.POST if request.method == "POST" else None, initial=begin)
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        try:
            changed = change_tag(
                actor_of(request), tag, data["name"], is_site=data["is_site"], most_runs=data["most_runs"]
            )
        except ValueError as error:
            form.add_error("name", str(error))
        else:
            if changed:
                messages.success(request, f"The tag {make_visible(data['name'])} is saved.")
            return redirect("tags")
    context = {"form": form, "tag": tag, "crumbs": _crumbs(tag)}
    return render(request, "console/tag.html", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
def tag_delete(request: HttpRequest, pk: int) -> HttpResponse:
    tag = get_object_or_404(with_counts(Tag.objects.all()), pk=pk)
    refused = ""
    if request.method == "POST":
        try:
            _remove(request, tag)
        except ValueError as error:
            refused = str(error)
        else:
            messages.success(request, f"The tag {make_visible(tag.name)} is removed.")
            return redirect("tags")
    found = forecast(tag)
    context = {
        "tag": tag,
        "found": found,
        "refused": refused,
        "is_refused": any(each.widens for each in found),
        "crumbs": _crumbs(tag),
    }
    return render(request, "console/tag_delete.html", context, status=409 if refused else 200)


@transaction.atomic
def _remove(request: HttpRequest, tag: Tag) -> None:
    concerned = PolicyDevice.objects.filter(policy__tags=tag).values_list("device_id", flat=True)
    lock(set(concerned))
    restate(remove_tag(actor_of(request), tag, timezone.now()))


def _crumbs(tag: Tag) -> list[tuple[str, str]]:
    return [("Devices", reverse("devices")), ("Tags", reverse("tags")), (make_visible(tag.name), "")]
