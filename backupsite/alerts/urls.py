"""Addresses of the notices."""

from __future__ import annotations

from django.urls import path

from backupsite.alerts import views

urlpatterns = [
    path("settings/notify/", views.settings_notify, name="settings-notify"),
    path("settings/notify/<int:pk>/test/", views.settings_notify_test, name="settings-notify-test"),
    path("settings/notify/<int:pk>/delete/", views.settings_notify_delete, name="settings-notify-delete"),
]
