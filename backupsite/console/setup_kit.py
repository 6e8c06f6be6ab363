"""The third step: the recovery kit leaves the machine, and the person proves to have it."""

from __future__ import annotations

from django import forms
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from backupsite.accounts.audit import record
from backupsite.console.setup_progress import list_steps, read_progress
from backupsite.repositories.kit import ENDING_LENGTH, KitConfirmed, confirm_kit, make_kit
from backupsite.repositories.models import RecoveryPassword, Storage


class EndingForm(forms.Form):
    ending = forms.CharField(
        min_length=ENDING_LENGTH,
        max_length=ENDING_LENGTH,
        label="Last 4 characters of the recovery password",
        help_text="They stand in the file that you downloaded.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "class": "mono"}),
    )

    def clean_ending(self) -> str:
        ending: str = self.cleaned_data["ending"]
        if not RecoveryPassword.objects.exists():
            raise ValidationError("Download the kit first.")
        if not confirm_kit(ending):
            raise ValidationError("These are not the last 4 characters of the newest kit.")
        return ending


@never_cache
@require_http_methods(["GET", "POST"])
def setup_kit(request: HttpRequest) -> HttpResponse:
    if not Storage.objects.exists() or _is_confirmed():
        return redirect("setup")
    if request.method == "GET":
        return _page(request, EndingForm())
    form = EndingForm(request.POST)
    with transaction.atomic():
        if form.is_valid():
            record(request, "kit.confirmed", "recovery kit")
    return redirect("setup") if form.is_valid() else _page(request, form, status=422)


@never_cache
@require_POST
def setup_kit_download(request: HttpRequest) -> HttpResponse:
    """Make the kit and answer it as a file. Each download makes a new password, until one is confirmed."""
    if not Storage.objects.exists():
        return redirect("setup")
    try:
        with transaction.atomic():
            kit = make_kit()
            record(request, "kit.made", kit.fingerprint)
    except KitConfirmed:
        return redirect("setup")
    response = HttpResponse(kit.text, content_type="text/plain; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="hotfleet-recovery-kit-{kit.fingerprint}.txt"'
    return response


def _is_confirmed() -> bool:
    return RecoveryPassword.objects.filter(kit_confirmed_at__isnull=False).exists()


def _page(request: HttpRequest, form: EndingForm, status: int = 200) -> HttpResponse:
    context = {
        "form": form,
        "steps": list_steps(read_progress(), "setup-kit"),
        "kit": RecoveryPassword.objects.order_by("id").last(),
    }
    return render(request, "console/setup_kit.html", context, status=status)
