"""The page on which a part of an object store becomes a storage: tested before it is kept."""

from __future__ import annotations

from urllib.parse import urlsplit

from django import forms
from django.contrib import messages
from django.db import DatabaseError, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from agents.commands import Secret
from agents.errors import AgentError
from agents.gateway.objects_account import Account, ObjectKind
from backupsite.accounts.audit import record
from backupsite.repositories.making import first_node
from backupsite.repositories.models import Storage
from backupsite.repositories.objects import Prepared, forget_prepared, prepare_objects, seal_secret, url_of
from backupsite.repositories.places import StorageRefused
from backupsite.web.formatting import format_bytes

_PLAIN = {"spellcheck": "false", "autocapitalize": "none", "autocomplete": "off"}
_KINDS = {Storage.S3: ObjectKind.S3, Storage.GCS: ObjectKind.GCS, Storage.AZURE: ObjectKind.AZURE}


def _text(label: str, hint: str, *, most: int, required: bool = True) -> forms.CharField:
    widget = forms.TextInput(attrs=_PLAIN)
    return forms.CharField(label=label, help_text=hint, max_length=most, required=required, widget=widget)


class ObjectForm(forms.Form):
    name = _text("Name", "How pages call it.", most=64)
    kind = forms.ChoiceField(
        label="Kind",
        choices=[each for each in Storage.KINDS if each[0] != Storage.DIRECTORY],
        help_text="Google and Azure were not tried with the real services yet: the test below tells.",
    )
    endpoint = _text(
        "Endpoint",
        "https://… of a compatible server; empty for the provider's own.",
        most=300,
        required=False,
    )
    region = _text("Region", "Of S3; empty means us-east-1.", most=64, required=False)
    bucket = _text("Bucket", "Azure calls it a container. It must exist.", most=255)
    folder = _text("Prefix", "The part of the bucket that is Hotfleet's alone.", most=500, required=False)
    account = _text("Access key", "Azure: name of the account. Google: empty.", most=255, required=False)
    secret = forms.CharField(
        label="Secret key",
        help_text="Azure: key of the account. Google: the whole key file. Kept sealed; only workers open it.",
        max_length=20_000,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
    )
    quota_gb = forms.IntegerField(
        label="Use at most (GB)", help_text="Empty: no limit, and no date when it is full.",
        required=False, min_value=1, max_value=10**9,
    )  # fmt: skip

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if Storage.objects.filter(name=name).exists():
            raise forms.ValidationError("There is a place for backups of this name already.")
        return name

    def clean_endpoint(self) -> str:
        text: str = self.cleaned_data["endpoint"].rstrip("/")
        parts = urlsplit(text)
        is_plain = parts.scheme in ("http", "https") and parts.hostname and not (parts.path or parts.query)
        if text and (not is_plain or "@" in parts.netloc):
            raise forms.ValidationError(
                "Write only https:// and the server's name, and a port if it has one."
            )
        return text

    def clean(self) -> None:
        """Test the account. This writes to the bucket, so it is the form's last check."""
        self.prepared: Prepared | None = None
        if self.errors:
            return
        if self.cleaned_data["kind"] != Storage.GCS and not self.cleaned_data["account"]:
            self.add_error("account", "The account has a name or an access key.")
            return
        try:
            self.prepared = prepare_objects(self._account())
        except StorageRefused as error:
            self.add_error("folder", str(error))
        except AgentError as error:
            said = f"{error.message[:1].upper()}{error.message[1:]}. {error.remedy}"
            self.add_error(None, f"{said} ({error.detail[:300]})" if error.detail else said)

    def _account(self) -> Account:
        data = self.cleaned_data
        return Account(
            _KINDS[data["kind"]], data["bucket"], Secret(data["secret"]), data["account"], data["endpoint"],
            data["region"], data["folder"].strip("/"),
        )  # fmt: skip


@require_http_methods(["GET", "POST"])
def storage_objects(request: HttpRequest) -> HttpResponse:
    if request.method == "GET":
        return _render(request, ObjectForm())
    form = ObjectForm(request.POST)
    if not form.is_valid() or form.prepared is None:
        return _render(request, form, status=422)
    _create(request, form, form.prepared)
    messages.success(request, _describe(form.prepared))
    return redirect("repositories")


def _render(request: HttpRequest, form: ObjectForm, status: int = 200) -> HttpResponse:
    crumbs = [("Repositories", reverse("repositories")), ("Add an object store", "")]
    page = "repositories/storage_objects.html"
    return render(request, page, {"form": form, "crumbs": crumbs}, status=status)


def _describe(prepared: Prepared) -> str:
    tried = prepared.tried
    versions = (
        "The bucket keeps versions: what Hotfleet deletes stays there, and is paid for, until a rule of the "
        "bucket removes it."
        if tried.has_versions
        else "The bucket keeps no versions: whoever has this key can delete backups for good."
    )
    return (
        f"Tested: written with {format_bytes(tried.written_bytes_s)}/s, read with "
        f"{format_bytes(tried.read_bytes_s)}/s, deleted. {versions} Whether an object lock holds objects was "
        "not looked at: with one, removal of old data fails."
    )


def _create(request: HttpRequest, form: ObjectForm, prepared: Prepared) -> None:
    account, quota = prepared.account, form.cleaned_data["quota_gb"]
    try:
        with transaction.atomic():
            storage = Storage.objects.create(
                kind=form.cleaned_data["kind"], node=first_node(), name=form.cleaned_data["name"],
                path=url_of(account), marker=prepared.marker, endpoint=account.endpoint,
                region=account.region, bucket=account.bucket, prefix=account.prefix, account=account.account,
                sealed_secret=seal_secret(prepared), quota_bytes=quota * 10**9 if quota else None,
                reading_costs=True, tested_at=timezone.now(),
            )  # fmt: skip
            record(request, "storage.added", storage.path)
    except DatabaseError:
        forget_prepared(prepared)
        raise
