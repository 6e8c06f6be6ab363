"""The tags by which a policy selects devices, as a part of its form."""

from __future__ import annotations

from typing import Any

from django import forms
from django.db.models import QuerySet

from backupsite.fleet.models import Device, Tag
from backupsite.fleet.tags import parse_tags
from backupsite.policies.models import Policy
from backupsite.policies.selecting import find_tagged

POSTED = "has_tags"
ANY, ALL = "any", "all"


class SelectionForm(forms.Form):
    """Which tags. A post without this part leaves the policy as it is."""

    tags = forms.CharField(
        max_length=900,
        required=False,
        label="Devices with these tags",
        help_text="For example web, hamburg. Devices that get the tag later join by themselves.",
    )
    tag_match = forms.ChoiceField(
        choices=[(ANY, "Any of them"), (ALL, "All of them")],
        initial=ANY,
        required=False,
        label="A device needs",
        widget=forms.RadioSelect,
    )

    def clean_tags(self) -> tuple[str, ...]:
        try:
            return parse_tags(str(self.cleaned_data["tags"]))
        except ValueError as error:
            raise forms.ValidationError(f"{error} Separate tags by commas, like web, hamburg.") from error

    @property
    def known_tags(self) -> list[str]:
        return list(Tag.objects.values_list("name", flat=True)[:200])

    @property
    def selection_fields(self) -> dict[str, Any]:
        """The model's fields of this part. Only for a valid form."""
        if not self.has_selection:
            return {}
        return {"needs_all_tags": self.cleaned_data.get("tag_match") == ALL}

    @property
    def has_selection(self) -> bool:
        return self.is_bound and POSTED in self.data

    @property
    def tag_names(self) -> tuple[str, ...] | None:
        """The tags that were typed, None when the part was not posted. Only when they were not refused."""
        return self.cleaned_data.get("tags", ()) if self.has_selection else None

    def find_tagged_devices(self) -> QuerySet[Device]:
        """Return the devices that the typed tags select now: a tag that is new selects none yet."""
        names = self.cleaned_data.get("tags", ())
        known = {tag.name.lower(): tag.pk for tag in Tag.objects.all()} if names else {}
        ids = [known[name.lower()] for name in names if name.lower() in known]
        needs_all = self.cleaned_data.get("tag_match") == ALL
        if needs_all and len(ids) < len(names):
            return Device.objects.none()
        return find_tagged(ids, needs_all=needs_all)


def initial_selection(policy: Policy) -> dict[str, Any]:
    """Given a policy, return what this part shows at first. Runs one query."""
    return {
        "tags": ", ".join(policy.tags.values_list("name", flat=True)),
        "tag_match": ALL if policy.needs_all_tags else ANY,
    }
