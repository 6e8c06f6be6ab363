"""Every address of the console. One word through URL name, view, template and style sheet."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver

urlpatterns: list[URLPattern | URLResolver] = []
