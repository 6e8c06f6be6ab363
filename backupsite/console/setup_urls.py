"""Addresses of the first-run wizard: one page a step."""

from __future__ import annotations

from django.urls import path

from backupsite.console.setup_admin import setup_admin
from backupsite.console.setup_progress import setup

urlpatterns = [
    path("setup/", setup, name="setup"),
    path("setup/admin/", setup_admin, name="setup-admin"),
]
