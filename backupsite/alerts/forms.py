"""What a person types to get notices."""

from __future__ import annotations

from django import forms
from django.core.exceptions import ValidationError

from backupsite.alerts.addresses import Address, AddressRefused, read_address
from backupsite.alerts.models import Target


class TargetForm(forms.Form):
    name = forms.CharField(max_length=64, help_text="For example: mail to the admins.")
    url = forms.CharField(
        max_length=2000,
        label="Apprise URL",
        help_text="For example mailto://user:password@example.org, ntfys://your-topic, or the address of a "
        "Slack or Discord webhook. It is sealed when it is saved; this page never shows it again.",
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "spellcheck": "false", "autocapitalize": "none"}
        ),
    )

    address: Address

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if Target.objects.filter(name=name).exists():
            raise ValidationError("There is a target with this name already.")
        return name

    def clean_url(self) -> str:
        url: str = self.cleaned_data["url"]
        try:
            self.address = read_address(url)
        except AddressRefused as error:
            raise ValidationError(str(error)) from error
        return url
