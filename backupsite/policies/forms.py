"""What a person types about a policy: name, devices, when, target; the sources are in source_forms."""

from __future__ import annotations

from datetime import time, timedelta
from typing import Any

from django import forms

from backupsite.fleet.models import Device
from backupsite.fleet.names import clean_name
from backupsite.policies.blocked_form import BlockedForm, initial_blocked
from backupsite.policies.copy_form import CopyForm, initial_copy
from backupsite.policies.durations import show_duration
from backupsite.policies.kept_form import PresetForm
from backupsite.policies.models import Policy
from backupsite.policies.schedule import WEEKDAYS, Schedule, find_zone
from backupsite.policies.selection_form import SelectionForm, initial_selection
from backupsite.policies.window_form import WRITE_TIME, WindowForm, initial_window, read_target, read_time

# The segmented control: (value, words, schedule of the model, minutes when it is "every").
WHEN = (
    ("15", "Every 15 min", Policy.EVERY, 15),
    ("60", "Hourly", Policy.EVERY, 60),
    ("240", "Every 4 h", Policy.EVERY, 240),
    ("daily", "Daily", Policy.DAILY, 60),
    ("weekly", "Weekly", Policy.WEEKLY, 60),
    ("cron", "Cron", Policy.CRON, 60),
    ("manual", "By hand", Policy.MANUAL, 60),
)
# A longer list is not drawn whole: the chosen devices and those that were searched for are.
MOST_LISTED = 500
MOST_FOUND = 100


class PolicyForm(WindowForm, BlockedForm, CopyForm, SelectionForm, PresetForm):
    """A policy without its sources. `policy` is the one that is changed, None for a new one."""

    name = forms.CharField(
        max_length=200,
        strip=False,
        error_messages={"required": "Give the policy a name, for example web servers."},
    )
    every_device = forms.BooleanField(required=False, label="Every device that there is now")
    devices = forms.ModelMultipleChoiceField(
        Device.objects.all(), required=False, widget=forms.CheckboxSelectMultiple
    )
    is_enabled = forms.BooleanField(required=False, initial=True, label="Run by its schedule")
    when = forms.ChoiceField(
        choices=[(value, words) for value, words, _, _ in WHEN],
        initial="60",
        label="How often",
        widget=forms.RadioSelect,
    )
    at_time = forms.CharField(
        max_length=20, initial="02:00", label="At", error_messages={"required": WRITE_TIME}
    )
    weekday = forms.TypedChoiceField(coerce=int, choices=list(enumerate(WEEKDAYS)), initial=6, label="On")
    cron = forms.CharField(
        max_length=120,
        error_messages={"required": "Write five fields, like 30 2 * * 1-5."},
        label="Cron expression",
        help_text="Five fields: minute, hour, day, month, weekday. For example 30 2 * * 1-5.",
    )
    time_zone = forms.CharField(max_length=64, initial="UTC", label="Time zone")
    rpo = forms.CharField(
        max_length=40,
        initial="2 h",
        label="Target (RPO)",
        help_text="The newest restore point must never be older than this, for example 2 h or 26 h.",
    )

    impact = forms.ChoiceField(
        choices=Policy.IMPACTS,
        initial=Policy.GENTLE,
        required=False,
        label="How hard a backup may push",
        widget=forms.RadioSelect,
        help_text="Gentle takes one processor at low priority, little memory, and pauses while applications "
        "wait for the disks. Balanced takes two and pauses later. Every run shows what the device felt.",
    )
    upload_mb_s = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=100_000,
        label="Send at most",
        help_text="MB/s over the network. Empty: as much as the line takes.",
        error_messages=dict.fromkeys(
            ("invalid", "min_value", "max_value"),
            "Write a whole number of MB/s from 1 to 100000, like 20, or nothing.",
        ),
    )

    def __init__(self, *args: Any, policy: Policy | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.policy = policy
        self.device_count = Device.objects.count()
        if self.is_long:
            self._list_some_devices()
        if self.is_bound:
            when = self.data.get("when")
            self.fields["at_time"].required = when in {"daily", "weekly"}
            self.fields["cron"].required = when == "cron"

    @property
    def is_long(self) -> bool:
        return self.device_count > MOST_LISTED

    def _list_some_devices(self) -> None:
        find = str(self.data.get("find") or self.initial.get("find") or "")[:100].replace("\0", "")
        given = self["devices"].value() or []
        chosen = Device.objects.filter(pk__in=[pk for pk in given if str(pk).isascii() and str(pk).isdigit()])
        found = Device.objects.filter(name__icontains=find).exclude(pk__in=chosen)[:MOST_FOUND]
        field = self.fields["devices"]
        if isinstance(field, forms.ModelMultipleChoiceField):
            # Only what is drawn: every device may be posted.
            field.widget.choices = [(device.pk, device.name) for device in (*chosen, *found)]

    def clean_name(self) -> str:
        try:
            name = clean_name(self.cleaned_data["name"])
        except ValueError as error:
            raise forms.ValidationError(str(error)) from error
        others = Policy.objects.all()
        if self.policy is not None:
            others = others.exclude(pk=self.policy.pk)
        if others.filter(name__iexact=name).exists():
            raise forms.ValidationError("Another policy has this name.")
        return name

    def clean_time_zone(self) -> str:
        name = str(self.cleaned_data["time_zone"]).strip()
        try:
            return find_zone(name).key
        except ValueError as error:
            raise forms.ValidationError(str(error)) from error

    def clean_impact(self) -> str:
        return str(self.cleaned_data["impact"] or Policy.GENTLE)

    def clean_rpo(self) -> timedelta:
        return read_target(str(self.cleaned_data["rpo"]))

    def clean_at_time(self) -> time | None:
        if self.cleaned_data_of("when") not in {"daily", "weekly"}:
            return None
        return read_time(str(self.cleaned_data["at_time"]))

    def clean(self) -> dict[str, Any]:
        data = self.cleaned_data
        if {"when", "time_zone", "at_time", "weekday", "cron"} <= data.keys():
            try:
                self.schedule.check()
            except ValueError as error:
                self.add_error("cron" if data["when"] == Policy.CRON else "when", str(error))
        self.check_window()
        self.check_blocked()
        return data

    @property
    def schedule(self) -> Schedule:
        """What was typed about when. Only when none of its fields was refused."""
        fields = self.schedule_fields
        spread = self.cleaned_data.get("spread_minutes")
        return Schedule(kind=fields.pop("schedule"), spread_minutes=spread, **fields)

    def cleaned_data_of(self, field: str) -> str:
        """Return a field that was checked before, "" when it was refused."""
        return str(self.cleaned_data.get(field, ""))

    @property
    def schedule_fields(self) -> dict[str, Any]:
        """The model's fields of the chosen schedule. Only for a valid form."""
        data = self.cleaned_data
        kind, minutes = next((kind, minutes) for value, _, kind, minutes in WHEN if value == data["when"])
        return {
            "schedule": kind,
            "every_minutes": minutes,
            "at_time": data["at_time"],
            "weekday": data["weekday"] if kind == Policy.WEEKLY else None,
            "cron": data["cron"] if kind == Policy.CRON else "",
            "time_zone": data["time_zone"],
        }


def initial_of(policy: Policy) -> dict[str, Any]:
    """Given a policy, return what its form shows at first. Runs two queries."""
    named = policy.assignments.filter(is_by_name=True).values("device")
    devices = [row["device"] for row in named]
    # A form may hold 1,000 fields: "every device" says the same in one.
    is_every = len(devices) > 1 and not Device.objects.exclude(pk__in=named).exists()
    return {
        "name": policy.name,
        "every_device": is_every,
        "devices": [] if is_every else devices,
        "is_enabled": policy.is_enabled,
        "when": _when_of(policy),
        "at_time": f"{policy.at_time:%H:%M}" if policy.at_time is not None else "02:00",
        "weekday": policy.weekday if policy.weekday is not None else 6,
        "cron": policy.cron,
        "time_zone": policy.time_zone,
        "rpo": show_duration(policy.rpo),
        "impact": policy.impact,
        "upload_mb_s": policy.upload_mb_s,
        **initial_window(policy),
        **initial_blocked(policy),
        **initial_copy(policy),
        **initial_selection(policy),
    }


def _when_of(policy: Policy) -> str:
    if policy.schedule == Policy.EVERY:
        return str(policy.every_minutes)
    return policy.schedule
