"""Policies to and from a file: export, and import with what it would change shown first."""

from __future__ import annotations

import hashlib
from typing import Any

from django import forms
from django.contrib import messages
from django.core import signing
from django.db import IntegrityError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from backupsite.console.policy_files import Comparison, Outdated, apply_comparison, compare_file
from backupsite.fleet.devices import actor_of
from backupsite.policies.document_rows import read_stored
from backupsite.policies.document_text import write_policies
from backupsite.policies.models import Policy
from backupsite.web.yaml_tree import MOST_BYTES

SALT = "policies.file"
# More policies are not listed one by one; all of them are applied.
MOST_LISTED = 200
# The file goes through the page once more, packed: a form may hold 2.5 MB.
MOST_CARRIED = 2_000_000
TOO_LARGE = f"The file is larger than {MOST_BYTES // 1024**2} MiB. Send it in parts."
CHANGED = "Policies were changed by somebody meanwhile. Look at what the file would do now."


class PolicyFileForm(forms.Form):
    """A file, or its text."""

    file = forms.FileField(required=False, label="A YAML file")
    text = forms.CharField(
        required=False,
        strip=False,
        label="Or its text",
        widget=forms.Textarea(attrs={"rows": 8, "spellcheck": "false", "class": "mono"}),
    )

    def clean(self) -> dict[str, Any]:
        file = self.cleaned_data.get("file")
        if file is not None and file.size > MOST_BYTES:
            self.add_error("file", TOO_LARGE)
        elif file is None and not self.cleaned_data.get("text") and not self.errors:
            self.add_error("file", "Choose a file, or paste its text.")
        return self.cleaned_data

    @property
    def content(self) -> bytes:
        """The file as bytes. Only after is_valid()."""
        file = self.cleaned_data["file"]
        return bytes(file.read()) if file is not None else str(self.cleaned_data["text"]).encode()


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
    if len(carried) > MOST_CARRIED:
        form.add_error("file", "Too large for a page. Send it in parts, or use manage.py policies import.")
        return _show(request, form, status=422)
    return _show(request, form, comparison, carried=carried)


def _carry(content: bytes, comparison: Comparison) -> str:
    """Return the file and what was shown of it, as a field of the page that nobody else can make."""
    said = {"text": content.decode("utf-8-sig"), "digest": _digest(comparison)}
    return signing.dumps(said, salt=SALT, compress=True)


def _apply(request: HttpRequest) -> HttpResponse:
    """Do what was shown. When policies changed meanwhile, show it anew."""
    try:
        carried = signing.loads(request.POST["carried"], salt=SALT)
        content = str(carried["text"]).encode()
    except (signing.BadSignature, KeyError, TypeError):
        messages.warning(request, "This page is too old. Send the file again.")
        return redirect("policies-import")
    comparison = compare_file(content)
    try:
        if comparison.is_right and _digest(comparison) == carried["digest"]:
            saved = apply_comparison(actor_of(request), comparison, timezone.now())
            messages.success(request, f"Applied: {len(saved)} made or changed.")
            return redirect("policies")
    except (IntegrityError, Outdated):
        comparison = compare_file(content)
    messages.warning(request, CHANGED)
    fresh = _carry(content, comparison) if comparison.is_right else ""
    return _show(request, PolicyFileForm(), comparison, carried=fresh)


def _digest(comparison: Comparison) -> str:
    return hashlib.sha256(comparison.digest.encode()).hexdigest()


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
