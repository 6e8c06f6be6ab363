"""Addresses of the repositories."""

from __future__ import annotations

from django.urls import path

from backupsite.repositories import views

urlpatterns = [
    path("repositories/", views.repositories, name="repositories"),
    path("repositories/list.txt", views.repositories_list, name="repositories-list"),
]
