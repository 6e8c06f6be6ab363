"""Reads a policy's form as it is typed so far, right or not: for the preview beside it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import F, OuterRef, Q, QuerySet, Subquery
from django.utils import timezone

from agents.facts import DeviceFacts
from backupsite.console.policy_preview import Preview, Typed, make_preview
from backupsite.console.policy_restores import read_restored
from backupsite.console.policy_targets import MOST_TARGETS, read_targets
from backupsite.fleet.models import Device
from backupsite.policies.blocked import Blocked
from backupsite.policies.blocked_form import as_posted
from backupsite.policies.forms import PolicyForm
from backupsite.policies.models import Policy, PolicyDevice
from backupsite.policies.source_form import DEFAULTS
from backupsite.policies.source_forms import PREFIX, BaseSourceFormSet, SourceFormSet
from backupsite.policies.window_form import WINDOW_FIELDS
from backupsite.policies.writing import key_of
from backupsite.runs.models import Run
from backupsite.runs.states import State


def read_preview(
    form: PolicyForm, sources: BaseSourceFormSet, edited: Policy | None
) -> tuple[Preview, list[DeviceFacts | None], set[str]]:
    """Given the forms, return what will happen if they are saved like that, the facts of the devices that
    were looked at, and the keys of what is in the policy."""
    form, sources = make_posted(form, sources)
    # A field that is half typed is no error here: the rest is shown.
    form.is_valid()
    sources.is_valid()
    data = form.cleaned_data
    is_known = {"when", "time_zone", "at_time", "weekday", "cron"} <= data.keys()
    has_window = bool(data.get("cold_is_enabled"))
    is_window_known = has_window and {*WINDOW_FIELDS, "time_zone"} <= data.keys()
    devices = find_devices(form)
    targets = read_targets(devices.order_by("name")[:MOST_TARGETS])
    drafts = {number: row.draft for number, row in enumerate(sources.forms) if row.is_whole}
    typed = Typed(
        device_count=devices.count(),
        is_enabled=bool(data.get("is_enabled")),
        row_count=len(sources.forms),
        drafts=drafts,
        schedule=form.schedule if is_known else None,
        rpo=data.get("rpo"),
        has_window=has_window,
        window=form.window(data["time_zone"]) if is_window_known else None,
        blocked=form.blocked if "time_zone" in data else Blocked((), "UTC"),
        window_rpo=data.get("cold_rpo") or None,
        usual_duration=usual_duration(edited),
        rto=data.get("rto"),
        restored=read_restored(edited),
        targets=targets,
    )
    keys = {key_of(draft) for draft in drafts.values()}
    return make_preview(typed, timezone.now()), [target.facts for target in targets], keys


def find_devices(form: PolicyForm) -> QuerySet[Device]:
    """Given a form that was checked, valid or not, return the devices that are chosen so far."""
    if form.cleaned_data.get("every_device"):
        return Device.objects.all()
    chosen: QuerySet[Device] | None = form.cleaned_data.get("devices")
    named = chosen if chosen is not None else Device.objects.none()
    tagged = form.find_tagged_devices()
    return Device.objects.filter(Q(pk__in=named.values("pk")) | Q(pk__in=tagged.values("pk")))


def make_posted(form: PolicyForm, sources: BaseSourceFormSet) -> tuple[PolicyForm, BaseSourceFormSet]:
    """Given forms that are shown for the first time, return them as if they had been posted like that."""
    if form.is_bound:
        return form, sources
    typed: dict[str, Any] = {
        name: form.get_initial_for_field(each, name) for name, each in form.fields.items()
    }
    rows = [{**DEFAULTS, **(row.initial or {})} for row in sources.forms]
    posted = {f"{PREFIX}-{n}-{name}": value for n, row in enumerate(rows) for name, value in row.items()}
    count = {f"{PREFIX}-TOTAL_FORMS": str(len(rows)), f"{PREFIX}-INITIAL_FORMS": "0"}
    typed |= as_posted(form.initial.get("blocked", []))
    return PolicyForm(typed, policy=form.policy), SourceFormSet(posted | count, prefix=PREFIX)


def usual_duration(edited: Policy | None) -> timedelta | None:
    """Return how long the newest good backup of the policy took on average, on some of its devices; None when
    there is none. Runs one query, of a few runs, however many there are."""
    if edited is None:
        return None
    good = Run.objects.filter(
        device=OuterRef("device"), policy=edited, kind=Run.BACKUP, started_at__isnull=False,
        state__in=(State.SUCCEEDED, State.WARNINGS), ended_at__isnull=False,
    ).order_by("-number")  # fmt: skip
    lasted = good.annotate(lasted=F("ended_at") - F("started_at")).values("lasted")[:1]
    covered = PolicyDevice.objects.filter(policy=edited).order_by(F("succeeded_at").desc(nulls_last=True))
    newest = covered.annotate(lasted=Subquery(lasted)).values_list("lasted", flat=True)[:20]
    seen = [each for each in newest if each is not None]
    return sum(seen, timedelta()) / len(seen) if seen else None
