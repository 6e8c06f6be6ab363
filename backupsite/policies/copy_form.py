"""Where second copies of a policy's restore points go, as a part of its form."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms

from backupsite.policies.durations import parse_duration, show_duration
from backupsite.policies.models import Policy
from backupsite.repositories.models import Storage

POSTED = "has_copy"
SHORTEST, LONGEST = timedelta(days=1), timedelta(days=3660)


class CopyForm(forms.Form):
    """The second copy. A post without any of it leaves the policy as it is."""

    copy_storage = forms.ModelChoiceField(
        Storage.objects.order_by("name"),
        required=False,
        empty_label="No second copy",
        label="Second copy on",
        help_text="Another disk, better another place. After each backup the server copies what is missing "
        "there; the device does nothing for it.",
    )
    copy_keep = forms.CharField(
        max_length=40,
        required=False,
        label="Keep there for",
        help_text="For example 30 d. Empty: as long as the restore point itself is kept. The newest of each "
        "source always stays.",
    )

    @property
    def offers_copy(self) -> bool:
        """Whether there is more than one storage to choose from, or one is chosen already."""
        return Storage.objects.count() > 1 or bool(self["copy_storage"].value())

    def clean_copy_keep(self) -> timedelta | None:
        typed = str(self.cleaned_data["copy_keep"]).strip()
        if not typed:
            return None
        try:
            keep = parse_duration(typed)
        except ValueError as error:
            raise forms.ValidationError(str(error)) from error
        if not SHORTEST <= keep <= LONGEST:
            raise forms.ValidationError("Write something between 1 d and 3660 d, or nothing.")
        return keep

    @property
    def copy_fields(self) -> dict[str, Any]:
        """The model's fields of this part. Only for a valid form."""
        if not self.is_bound or POSTED not in self.data:
            return {}
        return {name: self.cleaned_data[name] for name in ("copy_storage", "copy_keep")}


def initial_copy(policy: Policy) -> dict[str, Any]:
    """Given a stored policy, return what its form shows at first about this part."""
    return {
        "copy_storage": policy.copy_storage_id,
        "copy_keep": show_duration(policy.copy_keep) if policy.copy_keep is not None else "",
    }
