"""Policies to and from a file: export, and import with what it would change shown first."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.db import IntegrityError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from backupsite.console import sent_files
from backupsite.console.policy_files import Comparison, Outdated, apply_comparison, compare_file
from backupsite.console.sent_files import SentFile
from backupsite.fleet.devices import actor_of
from backupsite.policies.document_rows import read_stored
from backupsite.policies.document_text import write_policies
from backupsite.policies.models import Policy

SALT = "policies.file"
# More policies are not listed one by one; all of them are applied.
MOST_LISTED = 200
CHANGED = "Policies were changed by somebody meanwhile. Look at what the file would do now."


class PolicyFileForm(SentFile):
    """A YAML file of policies."""

    file = forms.FileField(required=False, label="A YAML file")


@require_safe
def policies_export(request: HttpRequest) -> HttpResponse:
    text = write_policies(each.state for each in read_stored(Policy.objects.all()))
    response = HttpResponse(text, content_type="application/yaml; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="policies-{timezone.now():%Y-%m-%d}.yaml"'
    return response


@require_http_methods(["GET", "HEAD", "POST"])
def policies_import(request: HttpRequest) -> HttpResponse:
    if request.method != "POST":
        return _show(request, PolicyFileForm())
    if "carried" in request.POST:
        return _apply(request)
    form = PolicyFileForm(request.POST, request.FILES)
    if not form.is_valid():
        return _show(request, form, status=422)
    content = form.content
    comparison = compare_file(content)
    if not comparison.is_right:
        return _show(request, form, comparison, status=422)
    carried = _carry(content, comparison)
    if not sent_files.fits(carried):
        form.add_error("file", "Too large for a page. Send it in parts, or use manage.py policies import.")
        return _show(request, form, status=422)
    return _show(request, form, comparison, carried=carried)


def _carry(content: bytes, comparison: Comparison) -> str:
    return sent_files.carry(SALT, {"text": content.decode("utf-8-sig")}, comparison.digest)


def _apply(request: HttpRequest) -> HttpResponse:
    """Do what was shown. When policies changed meanwhile, show it anew."""
    try:
        said = sent_files.take_back(request, SALT, "text")
    except sent_files.TooOld:
        messages.warning(request, sent_files.TOO_OLD)
        return redirect("policies-import")
    content = said["text"].encode()
    comparison = compare_file(content)
    try:
        if comparison.is_right and sent_files.is_as_shown(said, comparison.digest):
            saved = apply_comparison(actor_of(request), comparison, timezone.now())
            messages.success(request, f"Applied: {len(saved)} made or changed.")
            return redirect("policies")
    except (IntegrityError, Outdated):
        comparison = compare_file(content)
    messages.warning(request, CHANGED)
    fresh = _carry(content, comparison) if comparison.is_right else ""
    return _show(request, PolicyFileForm(), comparison, carried=fresh)


def _show(
    request: HttpRequest,
    form: PolicyFileForm,
    comparison: Comparison | None = None,
    *,
    carried: str = "",
    status: int = 200,
) -> HttpResponse:
    context: dict[str, Any] = {
        "form": form,
        "comparison": comparison,
        "carried": carried,
        "crumbs": [("Policies", reverse("policies")), ("Import", "")],
    }
    if comparison is not None:
        context["changes"] = comparison.wanted[:MOST_LISTED]
        context["more_count"] = max(0, len(comparison.wanted) - MOST_LISTED)
    return render(request, "policies/import.html", context, status=status)
