"""The login page and the way out."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth import authenticate
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render, resolve_url
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from backupsite.accounts import throttle
from backupsite.accounts.audit import record
from backupsite.accounts.forms import SignInForm
from backupsite.accounts.models import User
from backupsite.accounts.signing import read_known_browser, sign_in, sign_out, write_known_browser


@login_not_required
@sensitive_post_parameters("password")
@never_cache
@require_http_methods(["GET", "POST"])
def login_page(request: HttpRequest) -> HttpResponse:
    if request.user.is_authenticated:
        return redirect(_read_next(request))
    if request.method == "GET":
        return _page(request, SignInForm())
    form = SignInForm(request.POST)
    return _try(request, form) if form.is_valid() else _page(request, form, status=422)


def _try(request: HttpRequest, form: SignInForm) -> HttpResponse:
    name: str = form.cleaned_data["name"]
    limits = throttle.limits_of(name, request.META.get("REMOTE_ADDR", ""), read_known_browser(request, name))
    wait_s = throttle.take_attempt(limits)
    if wait_s:
        form.add_error(None, f"Too many attempts. Try again in {_words(wait_s)}.")
        response = _page(request, form, status=429)
        response["Retry-After"] = str(wait_s)
        return response
    # For an unknown name Django hashes the password too: the time tells nobody which names exist.
    user = authenticate(request, username=name, password=form.cleaned_data["password"])
    if not isinstance(user, User):
        record("stranger", "sign-in.failed", name, address=request.META.get("REMOTE_ADDR", ""))
        form.add_error(None, "Name and password do not match. Capital letters matter in both.")
        return _page(request, form, status=422)
    throttle.forget(limits)
    sign_in(request, user)
    response = redirect(_read_next(request))
    write_known_browser(response, user.name, is_secure=settings.SESSION_COOKIE_SECURE)
    return response


def _page(request: HttpRequest, form: SignInForm, status: int = 200) -> HttpResponse:
    context = {"form": form, "next": request.POST.get("next", request.GET.get("next", ""))}
    return render(request, "accounts/login.html", context, status=status)


def _read_next(request: HttpRequest) -> str:
    """Return where to go after signing in: only an address of this console."""
    wanted = request.POST.get("next", request.GET.get("next", ""))
    if url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure()):
        return wanted
    return resolve_url(settings.LOGIN_REDIRECT_URL)


def _words(seconds: int) -> str:
    return f"{seconds} seconds" if seconds < 90 else f"{round(seconds / 60)} minutes"


@login_not_required
@require_POST
def logout_action(request: HttpRequest) -> HttpResponse:
    sign_out(request)
    return redirect("login")
