"""The form by which an application comes back."""

from __future__ import annotations

import posixpath
from typing import Any

from django import forms
from django.utils.text import capfirst

from agents.applications import comebacks
from agents.applications.services import is_service_name
from agents.comeback import Way
from backupsite.recovery.comeback_moment import MomentFields
from backupsite.recovery.comebacks import Options
from backupsite.recovery.restore_form import check_target
from backupsite.web.choices import Choice
from backupsite.web.visible import make_visible

TITLES = {Way.IN_PLACE: "In place", Way.BESIDE: "Beside what runs", Way.DATABASE: "One database"}
_PLAIN = {"spellcheck": "false", "autocomplete": "off"}
NEEDED = {"folder": Way.BESIDE, "port": Way.BESIDE, "part": Way.DATABASE, "new_name": Way.DATABASE}
LONGEST_NAME = 63  # what PostgreSQL takes


class ComebackForm(MomentFields):
    """`options` are what the restore point allows; only what is possible can be chosen."""

    way = forms.ChoiceField(label="How it comes back", widget=forms.RadioSelect)
    services = forms.CharField(
        label="Services that stop meanwhile",
        required=False,
        help_text="Their names, with spaces between; empty: those that are known.",
        widget=forms.TextInput(attrs=_PLAIN),
    )
    keep = forms.BooleanField(
        label="Keep what is there beside it",
        required=False,
        help_text="Under its name with the number of the run, until you remove it: the way back by hand.",
    )
    folder = forms.CharField(label="New folder", required=False, widget=forms.TextInput(attrs=_PLAIN))
    port = forms.IntegerField(label="Port", required=False, min_value=1024, max_value=65535)
    part = forms.ChoiceField(label="Database", required=False)
    new_name = forms.CharField(
        label="Its new name", required=False, max_length=LONGEST_NAME, widget=forms.TextInput(attrs=_PLAIN)
    )
    table = forms.CharField(
        label="Only this table", required=False, max_length=200, widget=forms.TextInput(attrs=_PLAIN)
    )
    typed = forms.CharField(label="Name of the device", required=False, widget=forms.TextInput(attrs=_PLAIN))
    token = forms.UUIDField(widget=forms.HiddenInput)

    def __init__(self, *args: Any, options: Options, device_name: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.options = options
        self.device_name = device_name
        # A page that nobody answered yet shows the fields of every way.
        for name, way in NEEDED.items():
            self.fields[name].required = not self.is_bound or self.chosen == way
        self._ask_for_service(options.choice(Way.IN_PLACE))
        ways: Any = self.fields["way"]
        ways.choices = [
            (each.way.value, Choice(TITLES[each.way], make_visible(_say_what_it_needs(each))))
            for each in options.offered
        ]
        if not any(each.has_tables for each in options.choices):
            del self.fields["table"]
        parts: Any = self.fields["part"]
        names = [name for each in options.choices for name in each.databases]
        parts.choices = [(name, make_visible(name.removesuffix(".dump"))) for name in names]

    def _ask_for_service(self, in_place: comebacks.Choice | None) -> None:
        """Without one that is known, it is asked for."""
        if in_place is None or not in_place.needs_service:
            return
        field = self.fields["services"]
        field.required = not self.is_bound or self.chosen == Way.IN_PLACE
        field.help_text = (
            "As the device calls it, or container: and the name of a container. With spaces between."
        )
        field.error_messages["required"] = f"{make_visible(capfirst(in_place.reason))}. {in_place.remedy}"

    @property
    def chosen(self) -> str:
        return str(self.data.get("way", "")) if self.is_bound else str(self.initial.get("way", ""))

    def clean_services(self) -> list[str]:
        names = str(self.cleaned_data["services"]).split()
        for name in names:
            if not is_service_name(name):
                raise forms.ValidationError(f"{make_visible(name)} cannot be the name of a service.")
        return names

    def clean_folder(self) -> str:
        if self.chosen != Way.BESIDE:
            return ""
        try:
            folder = check_target(str(self.cleaned_data["folder"]))
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None
        if posixpath.dirname(folder) == "/":
            raise forms.ValidationError("Name a folder below another one, for example in /var/lib.")
        return folder

    def clean_port(self) -> int:
        return int(self.cleaned_data["port"] or 0)

    def clean_typed(self) -> str:
        typed = str(self.cleaned_data["typed"])
        if self.chosen == Way.IN_PLACE and typed != self.device_name:
            raise forms.ValidationError(
                f"Type {make_visible(self.device_name)}, the name of the device whose data is replaced."
            )
        return typed

    def make_wish(self) -> dict[str, Any]:
        """Given a valid form, return what it asks for."""
        names = ("way", "services", "keep", "folder", "port", "part", "new_name", "table")
        return {name: self.cleaned_data.get(name, "") for name in names} | {"moment": self.route.word}


def _say_what_it_needs(choice: comebacks.Choice) -> str:
    return f"{choice.reason}: name it below" if choice.needs_service else choice.reason
