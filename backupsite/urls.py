"""Every address of the console. One word through URL name, view, template and style sheet."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, include, path

from backupsite.serve.health import healthz

_APPS = ("web", "accounts", "alerts", "repositories", "policies", "runs", "recovery", "console")

handler500 = "backupsite.web.errors.fault"

urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", healthz, name="healthz"),
    *(path("", include(f"backupsite.{app}.urls")) for app in _APPS),
]
