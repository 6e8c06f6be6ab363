"""The page of a policy's retention: the rules, what they mean, and the question before something goes."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from backupsite.accounts import audit
from backupsite.policies.models import Policy
from backupsite.policies.retention import Rules
from backupsite.policies.retention_form import COUNTS, RetentionForm, initial_retention
from backupsite.recovery.retention_outlook import Outlook, look_ahead
from backupsite.web.visible import make_visible

FIELDS = (*COUNTS, "keep_min", "keep_max", "rest")


@require_http_methods(["GET", "HEAD", "POST"])
def policy_retention(request: HttpRequest, slug: str) -> HttpResponse:
    """The rules are saved at once when they remove nothing; else a person agrees to how much goes first."""
    policy = get_object_or_404(Policy, slug=slug)
    form = RetentionForm(
        request.POST if request.method == "POST" else None, initial=initial_retention(policy)
    )
    status, outlook, must_agree = 200, None, False
    if request.method != "POST":
        outlook = look_ahead(policy, Rules.of(policy), timezone.now())
    elif not form.is_valid():
        status = 422
    else:
        outlook = look_ahead(policy, form.rules, timezone.now())
        must_agree = _must_agree(request, policy, form, outlook)
        if request.POST.get("then") == "save" and not must_agree:
            _save(request, policy, form.cleaned_data, outlook)
            messages.success(request, "The rules are saved.")
            return redirect("policy-retention", policy.slug)
    context = {
        "policy": policy,
        "form": form,
        "counts": [form[name] for name in COUNTS],
        "outlook": outlook,
        "is_asked": must_agree and request.POST.get("then") == "save",
        "crumbs": [
            ("Policies", reverse("policies")),
            (make_visible(policy.name), policy.get_absolute_url()),
            ("Retention", ""),
        ],
    }
    return render(request, "recovery/policy_retention.html", context, status=status)


def _must_agree(request: HttpRequest, policy: Policy, form: RetentionForm, outlook: Outlook) -> bool:
    """Return whether something would go that nobody agreed to yet."""
    is_changed = any(form.cleaned_data[name] != getattr(policy, name) for name in FIELDS)
    return is_changed and outlook.goes > 0 and request.POST.get("agreed") != str(outlook.goes)


@transaction.atomic
def _save(request: HttpRequest, policy: Policy, cleaned: dict[str, Any], outlook: Outlook) -> None:
    before = {name: str(getattr(policy, name)) for name in FIELDS}
    Policy.objects.filter(pk=policy.pk).update(**{name: cleaned[name] for name in FIELDS})
    after = {name: str(cleaned[name]) for name in FIELDS}
    changed = [f"{name}: {before[name]} → {after[name]}" for name in FIELDS if before[name] != after[name]]
    audit.record(request, "policy.retention", policy.name, {"changed": changed, "goes": outlook.goes})
