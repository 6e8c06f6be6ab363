"""Addresses of the pages that put nouns together."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, include, path

urlpatterns: list[URLPattern | URLResolver] = [
    path("", include("backupsite.console.setup_urls")),
]
