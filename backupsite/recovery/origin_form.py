"""From where a restore reads, as its form offers it: the repository, or the second copy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms

from backupsite.recovery.models import RestorePoint
from backupsite.recovery.origins import BEST, COPY, FIRST, Origin, list_copies, why_not_first
from backupsite.web.choices import Choice
from backupsite.web.visible import make_visible


class OriginFields(forms.Form):
    """A form of a restore. A post without the field, of another page, leaves the choice to the worker."""

    origin = forms.ChoiceField(label="Read from", required=False, widget=forms.RadioSelect)

    def offer_origins(self, points: Sequence[RestorePoint], shown: RestorePoint, said: str) -> None:
        """Given the moments that are offered, the one that is shown and what its address says, offer the
        second copy if one of them has one. Runs one query."""
        self._copies = list_copies(points)
        choices = [(FIRST, Choice("The repository", f"in {make_visible(shown.repository.storage.name)}"))]
        if self.has_copies:
            storage = next(iter(self._copies.values())).repository.storage
            choices.append((COPY, Choice("The second copy", f"in {make_visible(storage.name)}")))
        field: Any = self.fields["origin"]
        field.choices = choices
        is_copy = said == COPY or (said != FIRST and shown.pk in self._copies and why_not_first([shown]))
        self.initial["origin"] = COPY if is_copy else FIRST

    @property
    def has_copies(self) -> bool:
        return bool(self._copies)

    @property
    def wanted_origin(self) -> str:
        """Where it is read, as the form stands now; BEST where there is nothing to choose."""
        if not self.has_copies:
            return BEST
        said = self.data.get("origin", BEST) if self.is_bound else self.initial["origin"]
        return said if said in (FIRST, COPY) else BEST

    def find_origin(self, point: RestorePoint) -> Origin:
        """Given the moment as the form stands now, return where it would be read, and what speaks against the
        first one even if that is read."""
        why, copy = why_not_first([point]), self._copies.get(point.pk)
        if copy is not None and (self.wanted_origin == COPY or (why and self.wanted_origin == BEST)):
            return Origin(copy.repository, {point.restic_id: copy.restic_id}, why)
        none = " It has no second copy." if why and copy is None else ""
        return Origin(point.repository, {}, f"{why}{none}")

    def clean_origin(self) -> str:
        chosen = str(self.cleaned_data["origin"])
        if chosen == COPY and str(self.data.get("point")) not in {str(pk) for pk in self._copies}:
            raise forms.ValidationError("This moment is not in the second copy.")
        return chosen
