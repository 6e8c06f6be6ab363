"""Addresses of the first-run wizard, one page a step, and of the page about the console."""

from __future__ import annotations

from django.urls import path

from backupsite.console.about import settings_about
from backupsite.console.setup_admin import setup_admin
from backupsite.console.setup_kit import setup_kit, setup_kit_download
from backupsite.console.setup_progress import setup
from backupsite.console.setup_storage import setup_storage

urlpatterns = [
    path("setup/", setup, name="setup"),
    path("setup/admin/", setup_admin, name="setup-admin"),
    path("setup/storage/", setup_storage, name="setup-storage"),
    path("setup/kit/", setup_kit, name="setup-kit"),
    path("setup/kit/download/", setup_kit_download, name="setup-kit-download"),
    path("settings/about/", settings_about, name="settings-about"),
]
