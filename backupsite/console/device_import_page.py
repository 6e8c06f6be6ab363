"""Devices by the hundred: what becomes of each device of a file is shown, then they are made."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.db import IntegrityError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from backupsite.console import sent_files
from backupsite.console.device_imports import MOST_STARTED, DevicePlan, Outdated, import_devices, plan_import
from backupsite.console.sent_files import SentFile
from backupsite.fleet.devices import actor_of
from backupsite.fleet.imports.checking import NEW, PRESENT, REFUSED
from backupsite.repositories.default_storage import find_default
from backupsite.web.choices import Choice

SALT = "devices.file"
MOST_NOTES = 50
KINDS = [
    ("ansible", Choice("Ansible inventory", "INI or YAML. Groups become tags. group_vars are not followed.")),
    (
        "ssh_config",
        Choice("ssh_config", "A device for each Host without wildcards. Include is not followed."),
    ),
    ("csv", Choice("CSV list", "With a first line: name,address,port,user,tags,jump host.")),
]
CHANGED = "Devices were changed by somebody meanwhile. Look at what the file would do now."
_ORDER = {REFUSED: 0, NEW: 1, PRESENT: 2}


class DeviceFileForm(SentFile):
    """A file of devices, and the keys that are known of them."""

    kind = forms.ChoiceField(choices=KINDS, initial="ansible", label="What it is", widget=forms.RadioSelect)
    known_hosts = forms.CharField(
        required=False,
        strip=False,
        max_length=2_000_000,
        label="Their host keys",
        help_text="Lines of known_hosts, hashed names too. A key that stands here counts as compared by you. "
        "The others wait until their fingerprint is compared.",
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "false", "class": "mono"}),
    )


@require_http_methods(["GET", "HEAD", "POST"])
def devices_import(request: HttpRequest) -> HttpResponse:
    if request.method != "POST":
        return _show(request, DeviceFileForm())
    if "carried" in request.POST:
        return _apply(request)
    form = DeviceFileForm(request.POST, request.FILES)
    if not form.is_valid():
        return _show(request, form, status=422)
    kind, known = form.cleaned_data["kind"], form.cleaned_data["known_hosts"]
    content = form.content
    plan = plan_import(kind, content, known)
    if plan.errors:
        return _show(request, form, plan, status=422)
    said = {"kind": kind, "text": content.decode("utf-8-sig"), "known_hosts": known}
    carried = sent_files.carry(SALT, said, repr(plan.candidates))
    if not sent_files.fits(carried):
        form.add_error("file", "Too large for a page. Send it in parts.")
        return _show(request, form, status=422)
    return _show(request, form, plan, carried=carried)


def _apply(request: HttpRequest) -> HttpResponse:
    """Do what was shown: all of it, or with "good" without what was refused."""
    try:
        said = sent_files.take_back(request, SALT, "kind", "text", "known_hosts")
    except sent_files.TooOld:
        messages.warning(request, sent_files.TOO_OLD)
        return redirect("devices-import")
    kind, content, known = said["kind"], said["text"].encode(), said["known_hosts"]
    plan = plan_import(kind, content, known)
    try:
        if sent_files.is_as_shown(said, repr(plan.candidates)):
            return _import(request, plan)
    except (IntegrityError, Outdated):
        plan = plan_import(kind, content, known)
    messages.warning(request, CHANGED)
    fresh = sent_files.carry(SALT, said, repr(plan.candidates))
    return _show(request, DeviceFileForm(initial={"kind": kind}), plan, carried=fresh)


def _import(request: HttpRequest, plan: DevicePlan) -> HttpResponse:
    if plan.refused and request.POST.get("which") != "good":
        messages.warning(
            request, "Nothing was added: some devices are refused. Mend the file, or take the rest."
        )
        return redirect("devices-import")
    made = import_devices(actor_of(request), plan)
    text = f"{len(made)} devices were added."
    if len(made) > MOST_STARTED:
        text += f" The first {MOST_STARTED} are looked at now; check the others when these are done."
    messages.success(request, text)
    return redirect("devices")


def _show(
    request: HttpRequest,
    form: DeviceFileForm,
    plan: DevicePlan | None = None,
    *,
    carried: str = "",
    status: int = 200,
) -> HttpResponse:
    context: dict[str, Any] = {
        "form": form,
        "plan": plan,
        "carried": carried,
        "default_storage": find_default(),
        "crumbs": [("Devices", reverse("devices")), ("Import", "")],
    }
    if plan is not None:
        context["candidates"] = sorted(plan.candidates, key=lambda each: (_ORDER[each.fate], each.line))
        context["notes"] = plan.notes[:MOST_NOTES]
        context["hidden_notes"] = max(0, len(plan.notes) - MOST_NOTES)
        context["key_notes"] = plan.key_notes[:MOST_NOTES]
        context["hidden_key_notes"] = max(0, len(plan.key_notes) - MOST_NOTES)
    return render(request, "console/device_import.html", context, status=status)
