from __future__ import annotations

from django.urls import path

from backupsite.fleet import views

urlpatterns = [
    path("devices/new/", views.device_new, name="device-new"),
    path("devices/<slug:slug>/edit/", views.device_edit, name="device-edit"),
]
