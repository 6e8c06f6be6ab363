"""Addresses of the lists of runs and of what is done to runs. The page of one run is in console."""

from __future__ import annotations

from django.urls import URLPattern, path

from backupsite.runs import views

urlpatterns: list[URLPattern] = [
    path("runs/", views.runs, name="runs"),
    path("runs/<int:number>/log.txt", views.run_log, name="run-log"),
    path("runs/<int:number>/cancel/", views.run_cancel, name="run-cancel"),
    path("devices/<slug:slug>/runs/", views.device_runs, name="device-runs"),
    path("devices/<slug:slug>/backup/", views.device_backup, name="device-backup"),
]
