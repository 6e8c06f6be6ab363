"""The page of a policy's rules about drills: how often, where, how long, what a person asks of the data."""

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

from agents.applications.trials import trial_makers
from backupsite.accounts import audit
from backupsite.fleet.models import Device
from backupsite.policies.durations import parse_duration, show_duration
from backupsite.policies.models import Policy, Source
from backupsite.policies.naming import name_source
from backupsite.recovery.drill_machines import MACHINE_WORDS, find_machine, list_machines
from backupsite.recovery.drill_models import DrillQuestion, DrillRule, DrillTurn
from backupsite.web.visible import make_visible

MOST_QUESTIONS = 20
LONGEST_TEXT = 4000


class RuleForm(forms.Form):
    """The rule, and one more question when its text is not empty."""

    rhythm = forms.ChoiceField(label="How often", choices=DrillRule.RHYTHMS, widget=forms.RadioSelect)
    is_sampled = forms.BooleanField(
        label="Look into every restore point",
        required=False,
        help_text="All of its structure and some of its files are read in the repository, with each piece "
        "compared with its check sum. It costs little, restores nothing and proves less than a drill.",
    )
    rto = forms.CharField(
        label="Recovery time objective (RTO)",
        required=False,
        max_length=20,
        help_text="How long bringing a source back may take, such as 30 min or 4 h. Each drill is measured "
        "against it. Empty: what the policy says.",
        widget=forms.TextInput({"class": "input"}),
    )
    machine = forms.CharField(
        label="Drill device",
        required=False,
        help_text=MACHINE_WORDS,
        widget=forms.TextInput(
            {"class": "input", "spellcheck": "false", "autocomplete": "off", "list": "machines"}
        ),
    )
    text = forms.CharField(
        label="Query",
        required=False,
        max_length=LONGEST_TEXT,
        help_text="Read by the application's own client.",
        widget=forms.Textarea({"class": "input mono", "rows": 2, "spellcheck": "false"}),
    )
    comparison = forms.ChoiceField(
        label="The answer",
        required=False,
        choices=DrillQuestion.COMPARISONS,
        initial=">",
        widget=forms.Select({"class": "input"}),
    )
    value = forms.CharField(
        label="Expected", required=False, max_length=1000, widget=forms.TextInput({"class": "input"})
    )
    database = forms.CharField(
        label="Database",
        required=False,
        max_length=255,
        help_text="Its name; Redis' number; OpenLDAP's suffix. Empty: the usual one, of OpenLDAP all.",
        widget=forms.TextInput({"class": "input"}),
    )

    def __init__(self, data: Any, *, policy: Policy, initial: dict[str, Any]) -> None:
        super().__init__(data, initial=initial)
        self._policy = policy
        askable = list_askable(policy)
        choices = [(source.key, name_source(source.key)) for source in askable]
        examples = {source.application: trial_makers()[source.application].example for source in askable}
        said = " or ".join(dict.fromkeys(examples.values()))
        self.fields["text"].help_text = f"Read by the application's own client, such as: {said}"
        self.fields["source"] = forms.ChoiceField(
            label="Source", required=False, choices=choices, widget=forms.Select({"class": "input"})
        )

    def clean_rto(self) -> Any:
        typed = self.cleaned_data["rto"]
        if not typed.strip():
            return None
        try:
            rto = parse_duration(typed)
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None
        if not rto:
            raise forms.ValidationError("It has to be longer than nothing.")
        return rto

    def clean_machine(self) -> Device | None:
        return find_machine(self.cleaned_data["machine"])

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if cleaned.get("text"):
            if not cleaned.get("source"):
                self.add_error("source", "Choose what is asked.")
            if not cleaned.get("value"):
                self.add_error("value", "Say which answer is expected.")
            if DrillQuestion.objects.filter(policy=self._policy).count() >= MOST_QUESTIONS:
                self.add_error("text", f"A policy asks {MOST_QUESTIONS} questions at most.")
        return cleaned


def list_askable(policy: Policy) -> list[Source]:
    """Given a policy, return its sources that a drill can ask a query. Runs one query."""
    names = [name for name, maker in trial_makers().items() if maker.example]
    return list(policy.sources.filter(application__in=names).exclude(mode=Source.OUT))


@require_http_methods(["GET", "HEAD", "POST"])
def policy_drills(request: HttpRequest, slug: str) -> HttpResponse:
    policy = get_object_or_404(Policy, slug=slug)
    rule = DrillRule.objects.select_related("machine").filter(policy=policy).first() or DrillRule(
        policy=policy
    )
    if request.method == "POST" and "remove" in request.POST:
        _remove(request, policy, request.POST["remove"])
        return redirect("policy-drills", policy.slug)
    initial = {
        "rhythm": rule.rhythm,
        "rto": show_duration(rule.rto) if rule.rto is not None else "",
        "is_sampled": rule.is_sampled,
        "machine": rule.machine.name if rule.machine is not None else "",
    }
    form = RuleForm(request.POST if request.method == "POST" else None, policy=policy, initial=initial)
    if request.method == "POST" and form.is_valid():
        _save(request, rule, form.cleaned_data)
        messages.success(request, "The rule is saved.")
        return redirect("policy-drills", policy.slug)
    context = {
        "policy": policy,
        "form": form,
        "machines": list_machines(),
        "askable": list_askable(policy),
        "questions": [(each, name_source(each.source)) for each in policy.drill_questions.all()],
        "crumbs": [
            ("Policies", reverse("policies")),
            (make_visible(policy.name), policy.get_absolute_url()),
            ("Drills", ""),
        ],
    }
    return render(request, "recovery/policy_drills.html", context, status=422 if form.errors else 200)


@transaction.atomic
def _save(request: HttpRequest, rule: DrillRule, cleaned: dict[str, Any]) -> None:
    """Store the rule; another rhythm starts over, with drills that are due at once."""
    is_new = rule.rhythm != cleaned["rhythm"]
    rule.rhythm, rule.rto, rule.is_sampled = cleaned["rhythm"], cleaned["rto"], cleaned["is_sampled"]
    rule.machine = cleaned["machine"]
    rule.save()
    if is_new:
        now = timezone.now()
        turns = DrillTurn.objects.filter(policy=rule.policy, is_sample=False)
        turns.update(next_due=now, since=now, told_at=None)
    if cleaned["text"]:
        names = ("source", "text", "comparison", "value", "database")
        DrillQuestion.objects.create(policy=rule.policy, **{name: cleaned[name] for name in names})
    detail = {
        "rhythm": rule.rhythm,
        "rto_s": round(rule.rto.total_seconds()) if rule.rto is not None else None,
        "is_sampled": rule.is_sampled,
        "machine": rule.machine.name if rule.machine is not None else "",
        "asks": cleaned["text"][:200],
    }
    audit.record(request, "policy.drills", rule.policy.name, detail)


@transaction.atomic
def _remove(request: HttpRequest, policy: Policy, number: str) -> None:
    found = policy.drill_questions.filter(pk=int(number) if number.isascii() and number.isdigit() else 0)
    question = found.first()
    if question is not None:
        question.delete()
        audit.record(request, "policy.drills", policy.name, {"asks_no_more": question.text[:200]})
