"""The form of a policy: save it, or save it and back up at once, with a preview of what will happen."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from backupsite.console.pausing_page import list_pauses
from backupsite.console.policy_consequences_reading import read_consequences
from backupsite.console.policy_found import find_more, list_instances
from backupsite.console.policy_reading import find_devices, read_preview
from backupsite.console.policy_refusals import keeps_repositories_out
from backupsite.fleet.devices import actor_of
from backupsite.fleet.models import Device
from backupsite.fleet.tags import find_tags
from backupsite.policies.blocked_form import typed_blocked
from backupsite.policies.forms import PolicyForm, initial_of
from backupsite.policies.kept_form import say_kept
from backupsite.policies.models import Policy, Source
from backupsite.policies.naming import name_source
from backupsite.policies.overriding import find_differing
from backupsite.policies.source_forms import BaseSourceFormSet, change_rows, make_source_forms, wanted_rows
from backupsite.policies.templates import TEMPLATES, Template, find_template
from backupsite.policies.windows import COLD, first_window, lacks_window, needs_window, own_window
from backupsite.policies.writing import key_of, save_policy
from backupsite.recovery.stored import lock, restate
from backupsite.runs.models import Run
from backupsite.runs.requests import request_run
from backupsite.web.visible import make_visible

# One click must not start a whole fleet at the same moment; the schedule spreads them.
MOST_AT_ONCE = 20


@require_http_methods(["GET", "HEAD", "POST"])
def policy_new(request: HttpRequest) -> HttpResponse:
    return _edit(request, None)


@require_http_methods(["GET", "HEAD", "POST"])
def policy(request: HttpRequest, slug: str) -> HttpResponse:
    return _edit(request, get_object_or_404(Policy, slug=slug))


@require_POST
def policy_preview(request: HttpRequest) -> HttpResponse:
    """What will happen if the form is saved as it is now. Writes nothing."""
    edited = Policy.objects.filter(slug=request.POST.get("policy", "")).first()
    form, sources = PolicyForm(request.POST, policy=edited), make_source_forms(request.POST)
    return render(request, "policies/preview_parts.html", _preview_context(form, sources, edited))


def _edit(request: HttpRequest, edited: Policy | None) -> HttpResponse:
    if request.method != "POST":
        form, sources = _first_forms(request, edited)
        return _show(request, edited, form, sources)
    rows = change_rows(request.POST)
    if rows is not None:
        # Another row is wanted: nothing is checked yet, everything typed is shown again.
        typed: dict[str, Any] = {name: request.POST.get(name) for name in PolicyForm.base_fields}
        typed["devices"] = request.POST.getlist("devices")
        typed["find"] = request.POST.get("find", "")
        typed["blocked"] = typed_blocked(request.POST)
        return _show(request, edited, PolicyForm(initial=typed, policy=edited), make_source_forms(rows=rows))
    form, sources = PolicyForm(request.POST, policy=edited), make_source_forms(request.POST)
    # Both are asked, so that every error is shown at once.
    is_valid = form.is_valid() & sources.is_valid()
    is_valid = is_valid and _has_its_window(form, sources) and _has_cold_starts(form, sources)
    if is_valid and keeps_repositories_out(form, sources):
        try:
            return _save(request, edited, form, sources)
        except IntegrityError:
            form.add_error("name", "Another policy has this name.")
    return _show(request, edited, form, sources, status=422)


def _first_forms(request: HttpRequest, edited: Policy | None) -> tuple[PolicyForm, BaseSourceFormSet]:
    wanted = wanted_rows(request.GET)
    if edited is not None:
        rows = make_source_forms(policy=edited, rows=wanted)
        return PolicyForm(initial=initial_of(edited), policy=edited), rows
    chosen = Device.objects.filter(slug__in=request.GET.getlist("device")).values_list("pk", flat=True)
    template = find_template(request.GET.get("template", ""))
    begun = [*(template.rows if template is not None else ()), *wanted]
    begin = template.fields if template is not None else {}
    zone = timezone.get_current_timezone_name()
    form = PolicyForm(initial={"devices": list(chosen), "time_zone": zone, **begin})
    return form, make_source_forms(rows=begun)


def _has_its_window(form: PolicyForm, sources: BaseSourceFormSet) -> bool:
    """Say at the field when something waits for a cold window that is not there."""
    listed = [Source(**draft) for draft in sources.drafts]
    if form.cleaned_data["cold_is_enabled"] or not lacks_window(listed):
        return True
    names = ", ".join(name_source(key_of(draft)) for draft in sources.drafts if needs_window(Source(**draft)))
    form.add_error(
        "cold_is_enabled",
        f"A cold window is needed for {names}: switch it on and say when. (When everything is cold, the "
        "policy's own schedule is the window.)",
    )
    return False


def _has_cold_starts(form: PolicyForm, sources: BaseSourceFormSet) -> bool:
    """Say at the field when blocked hours leave no time for what is copied cold."""
    data, now = form.cleaned_data, timezone.now()
    if data["cold_is_enabled"]:
        return form.check_starts("cold_when", form.window(data["time_zone"]), now)
    own = own_window([Source(**draft) for draft in sources.drafts], has_window=False)
    return own != COLD or form.check_starts("when", form.schedule, now)


def _save(
    request: HttpRequest, edited: Policy | None, form: PolicyForm, sources: BaseSourceFormSet
) -> HttpResponse:
    devices = list(_chosen(form))
    data = form.cleaned_data
    fields = {
        "name": data["name"],
        "is_enabled": data["is_enabled"],
        "rpo": data["rpo"],
        "impact": data["impact"],
        "upload_mb_s": data["upload_mb_s"],
        **form.schedule_fields,
        **form.window_fields,
        **form.blocked_fields,
        **form.copy_fields,
        **form.selection_fields,
        **(form.kept_fields if edited is None else {}),
    }
    starts_now = request.POST.get("then") == "backup"
    with transaction.atomic():
        saved = _store(request, edited, form, fields, devices, sources)
        user = request.user.get_username()
        window = first_window(saved.sources.all())
        # Those that its tags select too.
        devices = list(Device.objects.filter(pk__in=saved.assignments.values("device"), retired_at=None))
        runs = [
            request_run(Run.BACKUP, device, policy=saved, request={"window": window}, requested_by=user)
            for device in (devices[:MOST_AT_ONCE] if starts_now else [])
        ]
    if len(runs) == 1:
        return redirect(runs[0])
    if starts_now and len(devices) > MOST_AT_ONCE:
        text = f"The first {MOST_AT_ONCE} of {len(devices)} devices start now, the others by the schedule."
        messages.info(request, f"Saved. {text}")
    else:
        messages.success(request, f"The policy {saved.name} was saved.")
    return redirect("runs" if runs else "policies")


def _store(
    request: HttpRequest,
    edited: Policy | None,
    form: PolicyForm,
    fields: dict[str, Any],
    devices: list[Device],
    sources: BaseSourceFormSet,
) -> Policy:
    """Save the policy, and how its devices stand by it: those that it had and those that it has now."""
    before = list(edited.assignments.values_list("device_id", flat=True)) if edited is not None else []
    lock([*before, *find_devices(form).values_list("pk", flat=True)])
    tags = find_tags(form.tag_names) if form.tag_names is not None else None
    saved = save_policy(
        actor_of(request),
        edited,
        fields,
        devices,
        sources.drafts,
        timezone.now(),
        blocked=form.blocked_rows,
        tags=tags,
    )
    restate([*before, *saved.assignments.values_list("device_id", flat=True)])
    return saved


def _chosen(form: PolicyForm) -> Any:
    return Device.objects.all() if form.cleaned_data["every_device"] else form.cleaned_data["devices"]


def _show(
    request: HttpRequest,
    edited: Policy | None,
    form: PolicyForm,
    sources: BaseSourceFormSet,
    status: int = 200,
) -> HttpResponse:
    context = {
        "policy": edited,
        "active_pauses": list_pauses(edited) if edited is not None else [],
        "differing": find_differing(edited) if edited is not None else None,
        "kept": say_kept(edited) if edited is not None else "",
        "form": form,
        "sources": sources,
        "device_count": form.device_count,
        "find": request.POST.get("find", ""),
        "templates": _list_templates(request) if edited is None and request.method != "POST" else [],
        **_preview_context(form, sources, edited),
        "crumbs": [
            ("Policies", reverse("policies")),
            (make_visible(edited.name) if edited else "New policy", ""),
        ],
    }
    return render(request, "policies/policy.html", context, status=status)


def _preview_context(form: PolicyForm, sources: BaseSourceFormSet, edited: Policy | None) -> dict[str, Any]:
    preview, known, keys = read_preview(form, sources, edited)
    consequences = read_consequences(form, sources, edited, preview)
    notes = [consequences.notes_of(row.number) for row in preview.rows]
    return {
        "preview": preview,
        "consequences": consequences,
        "rows": list(zip(sources.forms, preview.rows, notes, strict=True)),
        "found": find_more(known, keys),
        "instances": list_instances(known),
    }


def _list_templates(request: HttpRequest) -> list[tuple[Template, str, bool]]:
    """Return what a new policy may begin with, each with its address and whether it is shown."""
    shown = request.GET.get("template", "")
    listed = []
    for template in TEMPLATES:
        fields = request.GET.copy()
        fields["template"] = template.slug
        listed.append((template, fields.urlencode(), template.slug == shown))
    return listed
