"""Addresses of the repositories."""

from __future__ import annotations

from django.urls import path

from backupsite.repositories import kit_page, views

urlpatterns = [
    path("repositories/", views.repositories, name="repositories"),
    path("repositories/kit/", kit_page.kit_sheet, name="kit-sheet"),
    path("repositories/list.txt", views.repositories_list, name="repositories-list"),
]
