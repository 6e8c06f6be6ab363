"""Addresses of what stays and what goes."""

from __future__ import annotations

from django.urls import URLPattern, path

from backupsite.recovery import retention_pages, retention_policy_page

urlpatterns: list[URLPattern] = [
    path("retention/", retention_pages.retention, name="retention"),
    path("retention/holds/<int:pk>/lift/", retention_pages.hold_lift, name="hold-lift"),
    path("points/<uuid:pk>/keep/", retention_pages.point_keep, name="point-keep"),
    path("points/<uuid:pk>/remove/", retention_pages.point_remove, name="point-remove"),
    path("devices/<slug:slug>/retention/", retention_pages.device_retention, name="device-retention"),
    path("policies/<slug:slug>/retention/", retention_policy_page.policy_retention, name="policy-retention"),
]
