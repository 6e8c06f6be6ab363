"""The first step: whoever reads the terminal's one-time code becomes the administrator."""

from __future__ import annotations

from django import forms
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from backupsite import setup_code
from backupsite.accounts import throttle
from backupsite.accounts.audit import record
from backupsite.accounts.forms import read_time_zone, time_zones
from backupsite.accounts.middleware import administrator_exists
from backupsite.accounts.models import User
from backupsite.accounts.signing import sign_in
from backupsite.console.setup_progress import list_steps, read_progress


class AdminForm(forms.Form):
    code = forms.CharField(
        max_length=200,
        label="Set-up code",
        help_text="The terminal in which you started Hotfleet shows it. It is valid for 30 minutes.",
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}
        ),
    )
    name = forms.CharField(
        max_length=64,
        help_text="What you sign in with.",
        widget=forms.TextInput(attrs={"autocomplete": "username", "autocapitalize": "none"}),
    )
    password = forms.CharField(
        max_length=1024,
        strip=False,
        help_text="12 characters or more; a sentence is good.",
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )
    time_zone = forms.CharField(
        max_length=64,
        initial="UTC",
        help_text="Times are shown in it.",
        widget=forms.TextInput(attrs={"list": "time-zones", "autocomplete": "off", "data-time-zone": True}),
    )

    def clean_code(self) -> str:
        code: str = self.cleaned_data["code"]
        if not setup_code.check(code):
            raise ValidationError("This code is wrong or too old. Restart Hotfleet to get a new one.")
        return code

    def clean_time_zone(self) -> str:
        return read_time_zone(self.cleaned_data["time_zone"])

    def clean(self) -> None:
        password, name = self.cleaned_data.get("password"), self.cleaned_data.get("name", "")
        if password is None:
            return
        try:
            validate_password(password, User(name=name))
        except ValidationError as error:
            self.add_error("password", error)


@login_not_required
@sensitive_post_parameters("password", "code")
@never_cache
@require_http_methods(["GET", "POST"])
def setup_admin(request: HttpRequest) -> HttpResponse:
    if administrator_exists():
        return redirect("setup" if request.user.is_authenticated else "login")
    if request.method == "GET":
        return _page(request, AdminForm(initial={"code": request.GET.get("code", "")}))
    limits = throttle.limits_of("set-up", request.META.get("REMOTE_ADDR", ""))
    form = AdminForm(request.POST)
    wait_s = throttle.take_attempt(limits)
    if wait_s:
        form.is_valid()
        form.add_error("code", f"Too many attempts. Try again in {wait_s} seconds.")
        return _page(request, form, status=429)
    if "code" not in form.errors:
        throttle.forget(limits)
    if not form.is_valid():
        return _page(request, form, status=422)
    _create(request, form)
    return redirect("setup")


def _create(request: HttpRequest, form: AdminForm) -> None:
    with transaction.atomic():
        user = User.objects.create_user(
            form.cleaned_data["name"], form.cleaned_data["password"], is_superuser=True
        )
        user.time_zone = form.cleaned_data["time_zone"]
        user.save(update_fields=["time_zone"])
        sign_in(request, user)
        record(request, "administrator.made", user.name)
    # After the commit: a code that was withdrawn for nobody would lock everybody out.
    setup_code.withdraw()


def _page(request: HttpRequest, form: AdminForm, status: int = 200) -> HttpResponse:
    steps = list_steps(read_progress(), "setup-admin")
    context = {"form": form, "steps": steps, "time_zones": time_zones()}
    return render(request, "console/setup_admin.html", context, status=status)
