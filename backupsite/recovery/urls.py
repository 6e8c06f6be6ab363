"""Addresses of restore points, downloads and restores."""

from __future__ import annotations

from django.urls import URLPattern, path

from backupsite.recovery import (
    adopt_page,
    comeback_page,
    compare_page,
    download_pages,
    drill_pages,
    drill_rules,
    point_page,
    points_pages,
    repository_page,
    restore_page,
    restores_page,
    search_page,
    undo_page,
    versions_page,
)
from backupsite.recovery.retention_urls import urlpatterns as retention_urls

urlpatterns: list[URLPattern] = [
    *retention_urls,
    path("repositories/adopt/", adopt_page.repository_adopt, name="repository-adopt"),
    path("points/", points_pages.points, name="points"),
    path("points/<uuid:pk>/", point_page.point, name="point"),
    path("points/<uuid:pk>/compare/", compare_page.point_compare, name="point-compare"),
    path("points/<uuid:old_pk>/compare/<uuid:new_pk>/", compare_page.points_compare, name="points-compare"),
    path("points/<uuid:pk>/open/", point_page.point_open, name="point-open"),
    path("points/<uuid:pk>/download/", download_pages.point_download, name="point-download"),
    path("points/<uuid:pk>/drill/", drill_pages.point_drill, name="point-drill"),
    path("points/<uuid:pk>/comeback/", comeback_page.point_comeback, name="point-comeback"),
    path("downloads/<uuid:pk>/", download_pages.download, name="download"),
    path("downloads/<uuid:pk>/file/", download_pages.download_file, name="download-file"),
    path("drills/", drill_pages.drills, name="drills"),
    path("drills/<int:pk>/", drill_pages.drill, name="drill"),
    path("devices/<slug:slug>/drills/", drill_pages.device_drills, name="device-drills"),
    path("devices/<slug:slug>/drill/", drill_pages.device_drill, name="device-drill"),
    path("policies/<slug:slug>/drills/", drill_rules.policy_drills, name="policy-drills"),
    path("devices/<slug:slug>/points/", points_pages.device_points, name="device-points"),
    path("devices/<slug:slug>/versions/", versions_page.path_versions, name="path-versions"),
    path("repositories/<uuid:pk>/", repository_page.repository, name="repository"),
    path("repositories/<uuid:pk>/check/", repository_page.repository_check, name="repository-check"),
    path("repositories/<uuid:pk>/repair/", repository_page.repository_repair, name="repository-repair"),
    path("repositories/<uuid:pk>/prune/", repository_page.repository_prune, name="repository-prune"),
    path("repositories/<uuid:pk>/copy/", repository_page.repository_copy, name="repository-copy"),
    path("restores/", restores_page.restores, name="restores"),
    path("restores/<int:number>/undo/", undo_page.restore_undo, name="restore-undo"),
    path("search/files/", search_page.search_files, name="search-files"),
    path("devices/<slug:slug>/restore/", restore_page.device_restore, name="device-restore"),
]
