"""Addresses of the repositories."""

from __future__ import annotations

from django.urls import path

from backupsite.repositories import default_storage_page, kit_page, object_page, reading_page, views

urlpatterns = [
    path("repositories/", views.repositories, name="repositories"),
    path(
        "repositories/storages/<int:pk>/default/",
        default_storage_page.storage_default,
        name="storage-default",
    ),
    path("repositories/storages/<int:pk>/reading/", reading_page.storage_reading, name="storage-reading"),
    path("repositories/storages/objects/", object_page.storage_objects, name="storage-objects"),
    path("repositories/kit/", kit_page.kit_sheet, name="kit-sheet"),
    path("repositories/list.txt", views.repositories_list, name="repositories-list"),
]
