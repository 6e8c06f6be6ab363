"""The sources of a policy as rows of a form. The buttons that add and remove a row need no script."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from django.forms import BaseFormSet, formset_factory
from django.http import QueryDict

from backupsite.policies.models import Policy
from backupsite.policies.source_form import DEFAULTS, FIELDS, FILES, SourceForm, row_of
from backupsite.policies.writing import key_of

PREFIX = "sources"
# A form may hold 1,000 fields, and its list of devices has up to 500.
MOST_SOURCES = 30
# The buttons that save nothing.
BUTTONS = {"add_source", "add_found", "remove_source", "find_devices", "add_blocked", "remove_blocked"}


if TYPE_CHECKING:
    _Rows = BaseFormSet[SourceForm]
else:
    # Django's class takes no parameter while it runs.
    _Rows = BaseFormSet


class BaseSourceFormSet(_Rows):
    default_error_messages = {
        **BaseFormSet.default_error_messages,
        "too_few_forms": "Say what to protect: a source at least.",
    }

    def clean(self) -> None:
        seen: set[str] = set()
        for form in self.forms:
            key = key_of(form.draft) if form.is_whole else ""
            if key and key in seen:
                name = "instance" if form.draft["application"] else "path"
                form.add_error(name, "This path is in the policy already." if name == "path" else TWICE)
            seen.add(key)

    @property
    def drafts(self) -> list[dict[str, Any]]:
        """The rows that name something, as fields of the model. Rows with an error are left out."""
        return [form.draft for form in self.forms if form.is_whole]


TWICE = "This is in the policy already."
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
    """Given what was posted, or a policy and rows to show beside its own unchecked, return the forms of the
    rows."""
    if data is not None:
        return SourceFormSet(data, prefix=PREFIX)
    own = [row_of(source) for source in policy.sources.all()] if policy is not None else []
    there = {_name_of(row) for row in own}
    more = [row for row in rows or [] if policy is None or _name_of(row) not in there]
    return SourceFormSet(initial=own + more, prefix=PREFIX)


def _name_of(row: Mapping[str, str]) -> tuple[str, str]:
    return row["kind"], row["path"] or row["instance"]


def change_rows(data: QueryDict) -> list[dict[str, str]] | None:
    """Given what was posted with a button that saves nothing (BUTTONS), return the rows as they were typed,
    one more or one less. Return None when none was pressed."""
    if not BUTTONS & data.keys():
        return None
    total = _read_count(data.get(f"{PREFIX}-TOTAL_FORMS", ""))
    rows = [
        {field: data.get(f"{PREFIX}-{row}-{field}", DEFAULTS[field]) for field in FIELDS}
        for row in range(total)
        if str(row) != data.get("remove_source")
    ]
    added = read_found(data.get("add_found", "")) if "add_found" in data else None
    if added is not None:
        # An empty row was waiting for exactly this.
        rows = [row for row in rows if row["path"] or row["instance"]]
    elif "add_source" in data:
        added = dict(DEFAULTS)
    return [*rows, added] if added is not None and len(rows) < MOST_SOURCES else rows


def read_found(text: str) -> dict[str, str]:
    """Given a key as a button carries it ("/etc", "postgresql:15/main"), return a row for it."""
    kind, _, instance = text[:5000].partition(":")
    if text.startswith("/") or not instance:
        return {**DEFAULTS, "path": text[:5000]}
    return {**DEFAULTS, "kind": kind, "instance": instance}


def wanted_rows(asked: Mapping[str, str]) -> list[dict[str, str]]:
    """Given an address ("?path=/srv", "?application=postgresql&instance=15/main&mode=out"), return the row
    that it asks for, if any."""
    path, application = asked.get("path", ""), asked.get("application", "")
    if not path and not application:
        return []
    row = read_found(f"{application}:{asked.get('instance', '')}" if application else path)
    modes = {"mode": asked["mode"]} if asked.get("mode") in SourceForm.MODES else {}
    return [{**row, **modes}]


def _read_count(text: str) -> int:
    return min(int(text), MOST_SOURCES) if text.isascii() and text.isdigit() and len(text) < 6 else 0


__all__ = [
    "FILES",
    "MOST_SOURCES",
    "PREFIX",
    "BaseSourceFormSet",
    "SourceFormSet",
    "change_rows",
    "make_source_forms",
    "wanted_rows",
]
