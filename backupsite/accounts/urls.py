"""Addresses of signing in and of the person's settings."""

from __future__ import annotations

from django.urls import path

from backupsite.accounts.views_login import login_page, logout_action
from backupsite.accounts.views_settings import session_end, settings_me, settings_page

urlpatterns = [
    path("login/", login_page, name="login"),
    path("logout/", logout_action, name="logout"),
    path("settings/", settings_page, name="settings"),
    path("settings/me/", settings_me, name="settings-me"),
    path("settings/me/session-end/", session_end, name="session-end"),
]
