"""What a person types to sign in and about themselves."""

from __future__ import annotations

import zoneinfo

from django import forms
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError

from backupsite.accounts.models import User


def read_time_zone(text: str) -> str:
    """Given a zone's name, return it. Raise ValidationError when this machine does not know it."""
    try:
        zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValidationError("Choose a time zone of the list, for example Europe/Berlin.") from error
    return text


def time_zones() -> list[str]:
    """Return the names of all zones that a person may choose."""
    names = {name for name in zoneinfo.available_timezones() if "/" in name and not name.startswith("Etc/")}
    return ["UTC", *sorted(names)]


class SignInForm(forms.Form):
    name = forms.CharField(
        max_length=64,
        widget=forms.TextInput(
            attrs={"autocomplete": "username", "autocapitalize": "none", "autofocus": True}
        ),
    )
    password = forms.CharField(
        max_length=1024, strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "current-password"})
    )


class TimeZoneForm(forms.Form):
    time_zone = forms.CharField(
        max_length=64, widget=forms.TextInput(attrs={"list": "time-zones", "autocomplete": "off"})
    )

    def clean_time_zone(self) -> str:
        return read_time_zone(self.cleaned_data["time_zone"])


class PasswordForm(forms.Form):
    """A new password. The present one is asked, or an open browser would be enough to take the account."""

    present = forms.CharField(
        max_length=1024,
        strip=False,
        label="Present password",
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )
    new = forms.CharField(
        max_length=1024,
        strip=False,
        label="New password",
        help_text="12 characters or more.",
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    def __init__(self, user: User, data: dict[str, str] | None = None) -> None:
        super().__init__(data)
        self.user = user

    def clean_present(self) -> str:
        present: str = self.cleaned_data["present"]
        if not self.user.check_password(present):
            raise ValidationError("This is not your present password.")
        return present

    def clean_new(self) -> str:
        new: str = self.cleaned_data["new"]
        validate_password(new, self.user)
        return new
