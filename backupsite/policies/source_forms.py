"""The sources of a policy as rows of a form. The buttons that add and remove a row need no script."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from django import forms
from django.forms import BaseFormSet, formset_factory
from django.http import QueryDict

from backupsite.policies.models import Policy, Source
from backupsite.policies.paths import check_excludes, check_path

PREFIX = "sources"
FIELDS = ("path", "excludes", "if_hot_impossible")
MOST_SOURCES = 50


class SourceForm(forms.Form):
    """One path."""

    path = forms.CharField(
        max_length=5000,
        strip=False,
        label="Path",
        error_messages={"required": "Give a path, for example /etc or /srv/www, or remove the row."},
    )
    excludes = forms.CharField(
        max_length=60_000,
        strip=False,
        required=False,
        label="Leave out",
        widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false"}),
        help_text="One pattern a line, for example *.tmp or /srv/www/cache.",
    )
    if_hot_impossible = forms.ChoiceField(
        choices=Source.FALLBACKS, initial=Source.LIVE, label="If no snapshot is possible"
    )

    def clean_path(self) -> str:
        try:
            return check_path(str(self.cleaned_data["path"]))
        except ValueError as error:
            raise forms.ValidationError(str(error)) from error

    def clean_excludes(self) -> str:
        try:
            return check_excludes(str(self.cleaned_data["excludes"]))
        except ValueError as error:
            raise forms.ValidationError(str(error)) from error


if TYPE_CHECKING:
    _Rows = BaseFormSet[SourceForm]
else:
    # Django's class takes no parameter while it runs.
    _Rows = BaseFormSet


class BaseSourceFormSet(_Rows):
    def clean(self) -> None:
        seen: set[str] = set()
        for form in self.forms:
            path = form.cleaned_data.get("path", "") if hasattr(form, "cleaned_data") else ""
            if path and path in seen:
                form.add_error("path", "This path is in the policy already.")
            seen.add(path)

    @property
    def drafts(self) -> list[dict[str, str]]:
        """The rows that hold a path: path, excludes, if_hot_impossible. Only for a valid formset."""
        return [dict(form.cleaned_data) for form in self.forms if form.cleaned_data.get("path")]


SourceFormSet = cast(
    type[BaseSourceFormSet],
    formset_factory(
        SourceForm,
        formset=BaseSourceFormSet,
        extra=0,
        min_num=1,
        max_num=MOST_SOURCES,
        absolute_max=MOST_SOURCES,
        validate_max=True,
        validate_min=True,
    ),
)


def make_source_forms(
    data: QueryDict | None = None, *, policy: Policy | None = None, rows: list[dict[str, str]] | None = None
) -> BaseSourceFormSet:
    """Given what was posted, or a policy, or rows to show unchecked, return the forms of the rows."""
    if data is not None:
        return SourceFormSet(data, prefix=PREFIX)
    if policy is not None:
        rows = list(policy.sources.values(*FIELDS))
    return SourceFormSet(initial=rows or [], prefix=PREFIX)


def change_rows(data: QueryDict) -> list[dict[str, str]] | None:
    """Given what was posted with a button that saves nothing ("add_source", "remove_source", "find_devices"),
    return the rows as they were typed, one more or one less. Return None when none was pressed."""
    if not {"add_source", "remove_source", "find_devices"} & data.keys():
        return None
    total = _read_count(data.get(f"{PREFIX}-TOTAL_FORMS", ""))
    rows = [
        {field: data.get(f"{PREFIX}-{row}-{field}", "") for field in FIELDS}
        for row in range(total)
        if str(row) != data.get("remove_source")
    ]
    if "add_source" in data and len(rows) < MOST_SOURCES:
        rows.append({"path": "", "excludes": "", "if_hot_impossible": Source.LIVE})
    return rows


def _read_count(text: str) -> int:
    return min(int(text), MOST_SOURCES) if text.isascii() and text.isdigit() and len(text) < 6 else 0
