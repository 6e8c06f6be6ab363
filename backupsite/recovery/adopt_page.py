"""Adopting a restic repository that somebody made before: whose it is, where it lies, its password."""

from __future__ import annotations

from django import forms
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from agents.commands import Secret
from agents.errors import AgentError
from backupsite.accounts.audit import record
from backupsite.fleet.models import Device
from backupsite.recovery.adoptions import ask_adoption
from backupsite.repositories.adopting import AdoptRefused, check_candidate, list_candidates
from backupsite.repositories.models import Storage
from backupsite.web.visible import make_visible


class AdoptForm(forms.Form):
    device = forms.ModelChoiceField(
        Device.objects.none(),
        to_field_name="slug",
        error_messages={"required": "Choose the device whose history it becomes."},
        empty_label="Choose a device",
        help_text="One that has no repository yet. Its restore points are then those of this repository.",
    )
    place = forms.ChoiceField(
        label="Repository",
        error_messages={"required": "Choose the directory of a repository."},
        help_text="Directories in the places for backups of the console's machine that hold a restic "
        "repository. Move yours there.",
    )
    password = forms.CharField(
        strip=False,
        max_length=1000,
        label="Password of the repository",
        error_messages={"required": "Type a password that opens it."},
        help_text="It goes on opening the repository, beside the console's key and your recovery kit.",
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
    )

    def __init__(self, data: dict[str, str] | None = None) -> None:
        super().__init__(data)
        devices, place = self.fields["device"], self.fields["place"]
        if isinstance(devices, forms.ModelChoiceField):
            devices.queryset = Device.objects.exclude(repository__restic_id__gt="").order_by("name")
        if isinstance(place, forms.ChoiceField):
            place.choices = list_places()
        self.has_places = bool(list_places())

    def clean(self) -> None:
        """Try the password, which takes a second: the form's last check."""
        if self.errors:
            return
        storage, name = self.chosen()
        try:
            check_candidate(storage, name, Secret(self.cleaned_data["password"]))
        except AgentError as error:
            field = "password" if "password" in error.message else "place"
            self.add_error(field, f"{error.message} {error.remedy}".strip())

    def chosen(self) -> tuple[Storage, str]:
        """Return the storage and the name of the directory in it."""
        key, _, name = self.cleaned_data["place"].partition(":")
        return Storage.objects.get(pk=int(key)), name


def list_places() -> list[tuple[str, str]]:
    """Return every directory that could be adopted; a storage that is not there has none."""
    found = []
    for storage in Storage.objects.filter(kind=Storage.DIRECTORY).order_by("pk"):
        try:
            names = list_candidates(storage)
        except (AgentError, OSError):
            continue
        found += [(f"{storage.pk}:{name}", make_visible(f"{storage.path}/{name}")) for name in names]
    return found


@never_cache
@require_http_methods(["GET", "POST"])
def repository_adopt(request: HttpRequest) -> HttpResponse:
    form = AdoptForm(request.POST.dict() if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        storage, name = form.chosen()
        device, password = form.cleaned_data["device"], Secret(form.cleaned_data["password"])
        try:
            with transaction.atomic():
                run = ask_adoption(device, storage, name, password, requested_by=request.user.get_username())
                record(request, "repository.adopt", device.name, {"directory": f"{storage.path}/{name}"})
            return redirect(run)
        except AdoptRefused as error:
            form.add_error("device", f"{error.message} {error.remedy}".strip())
    crumbs = [("Repositories", reverse("repositories")), ("Adopt a repository", "")]
    context = {"form": form, "crumbs": crumbs}
    return render(request, "recovery/adopt.html", context, status=422 if form.is_bound else 200)
