"""The second step: the directory that holds the backups."""

from __future__ import annotations

from pathlib import Path

from django import forms
from django.conf import settings
from django.contrib import messages
from django.db import DatabaseError, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from backupsite.accounts.audit import record
from backupsite.console.setup_progress import list_steps, read_progress
from backupsite.repositories.making import first_node
from backupsite.repositories.models import Storage
from backupsite.repositories.places import StorageRefused, list_places
from backupsite.repositories.storage import Tested, forget_marker, prepare_storage
from backupsite.web.choices import Choice
from backupsite.web.formatting import format_bytes

OTHER = "other"


class StorageForm(forms.Form):
    place = forms.ChoiceField(label="Directory", widget=forms.RadioSelect)
    path = forms.CharField(
        required=False,
        max_length=1000,
        label="Another directory",
        help_text="The whole path on this machine, for example /srv/backups.",
        widget=forms.TextInput(
            attrs={"spellcheck": "false", "autocapitalize": "none", "autocomplete": "off"}
        ),
    )

    def __init__(self, home: Path, data: dict[str, str] | None = None) -> None:
        super().__init__(data)
        self.home = home
        self.tested: Tested | None = None
        places = list_places(home)
        field = self.fields["place"]
        if isinstance(field, forms.ChoiceField):
            field.choices = [
                *(
                    (place.path, Choice(place.path, _describe(place.kind, place.space.free_bytes)))
                    for place in places
                ),
                (OTHER, Choice("Another directory", "Written below.")),
            ]
        self.initial["place"] = places[0].path

    def clean(self) -> None:
        """Test the directory. This writes to it, so it is the form's last check."""
        chosen = self.cleaned_data.get("place")
        if chosen is None or self.errors:
            return
        field = "path" if chosen == OTHER else "place"
        try:
            self.tested = prepare_storage(self.cleaned_data["path"] if chosen == OTHER else chosen, self.home)
        except StorageRefused as error:
            self.add_error(field, str(error))


def _describe(kind: str, free_bytes: int) -> str:
    # The writable layer of a container: real enough to work, and gone with it.
    note = ": gone when this container is removed" if kind == "overlay" else ""
    return f"{format_bytes(free_bytes)} free, {kind}{note}"


@require_http_methods(["GET", "POST"])
def setup_storage(request: HttpRequest) -> HttpResponse:
    if Storage.objects.exists():
        return redirect("setup")
    if request.method == "GET":
        return _page(request, StorageForm(_home()))
    form = StorageForm(_home(), request.POST.dict())
    if not form.is_valid() or form.tested is None:
        return _page(request, form, status=422)
    _create(request, form.tested)
    messages.success(
        request,
        f"{form.tested.path} was tested: a file was written, read back and deleted. "
        f"{format_bytes(form.tested.space.free_bytes)} are free.",
    )
    return redirect("setup")


def _create(request: HttpRequest, tested: Tested) -> None:
    try:
        with transaction.atomic():
            storage = Storage.objects.create(
                node=first_node(),
                name=tested.path.name,
                path=str(tested.path),
                marker=tested.marker,
                is_default=True,
                total_bytes=tested.space.total_bytes,
                free_bytes=tested.space.free_bytes,
                tested_at=timezone.now(),
            )
            record(request, "storage.added", storage.path)
    except DatabaseError:
        forget_marker(tested)
        raise


def _page(request: HttpRequest, form: StorageForm, status: int = 200) -> HttpResponse:
    context = {"form": form, "steps": list_steps(read_progress(), "setup-storage")}
    return render(request, "console/setup_storage.html", context, status=status)


def _home() -> Path:
    return Path(settings.HOTFLEET_HOME)
