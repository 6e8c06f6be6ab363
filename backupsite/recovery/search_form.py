"""What a person looks for in restore points, as typed."""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone

from backupsite.fleet.models import Device
from backupsite.recovery.browse_page import KINDS
from backupsite.recovery.index.searching import Query
from backupsite.recovery.targets import list_restorable

LONGEST_TEXT = 500
_SIZE = re.compile(r"([0-9]{1,15}(?:[.,][0-9]{1,6})?)\s*([kmgtp]?)i?b?", re.IGNORECASE)
_LARGEST = 2**62


class SizeField(forms.CharField):
    """A size such as "10 MB" or "512"."""

    def clean(self, value: object) -> int | None:
        text = str(super().clean(value)).strip()
        if not text:
            return None
        found = _SIZE.fullmatch(text)
        if found is None:
            raise ValidationError('Write a size such as "10 MB" or "512 kB".')
        power = " kmgtp".index(found[2].lower() or " ")
        return min(int(Decimal(found[1].replace(",", ".")) * 1000**power), _LARGEST)


class SearchForm(forms.Form):
    """Every field may be empty; an empty form finds nothing."""

    q = forms.CharField(label="Name or path", max_length=LONGEST_TEXT, required=False, strip=False)
    device = forms.ModelChoiceField(
        Device.objects.none(),
        label="Device", to_field_name="slug", required=False, empty_label="Every device",
    )  # fmt: skip
    kind = forms.ChoiceField(
        label="Type",
        choices=[("", "Everything"), *((name, KINDS[name]) for name in ("file", "dir", "symlink"))],
        required=False,
    )
    min = SizeField(label="At least", required=False, max_length=30)
    max = SizeField(label="At most", required=False, max_length=30)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # "from" is no name that a class could have.
        self.fields["from"] = _make_day("Changed from")
        self.fields["to"] = _make_day("Changed to")
        device: Any = self.fields["device"]
        device.queryset = list_restorable()
        for field in self.fields.values():
            field.widget.attrs["class"] = "input"
        for name in ("min", "max"):
            self.fields[name].widget.attrs["placeholder"] = "such as 10 MB"
        self.fields["q"].widget = forms.TextInput(
            {
                "class": "input",
                "type": "search",
                "aria-label": "Name or path",
                "placeholder": "invoice, *.pdf or /srv/uploads/2026",
            }
        )

    @property
    def query(self) -> Query:
        """What was asked for; only when the form is valid. Days are those of the console's time zone."""
        data = self.cleaned_data
        return Query(
            text=data["q"].strip(),
            kind=data["kind"],
            smallest=data["min"],
            largest=data["max"],
            since=_midnight(data["from"]),
            until=_midnight(data["to"] + timedelta(days=1)) if data["to"] is not None else None,
        )

    @property
    def has_limits(self) -> bool:
        """Whether more than a name was typed."""
        return any(self.data.get(name) for name in ("kind", "min", "max", "from", "to"))


def _make_day(label: str) -> forms.DateField:
    return forms.DateField(
        label=label, required=False, widget=forms.DateInput({"type": "date"}), validators=[_check_year]
    )


def _check_year(day: date) -> None:
    if not 1970 <= day.year <= 2999:
        raise ValidationError("Write a year from 1970 to 2999.")


def _midnight(day: date | None) -> datetime | None:
    return timezone.make_aware(datetime.combine(day, time.min)) if day is not None else None
