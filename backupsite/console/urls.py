"""Addresses of the pages that put nouns together."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, include, path

from backupsite.console import (
    device_editing,
    device_import_page,
    device_list,
    device_page,
    device_removal,
    enrolment,
    fleet_page,
    nodes_page,
    overrides_page,
    own_backup_page,
    pausing_page,
    policy_file_pages,
    policy_pages,
    policy_removal,
    recovered,
    run_page,
    tags_page,
)

urlpatterns: list[URLPattern | URLResolver] = [
    path("", include("backupsite.console.setup_urls")),
    path("", fleet_page.fleet, name="fleet"),
    path("devices/", device_list.devices, name="devices"),
    path("devices/new/", device_editing.device_new, name="device-new"),
    path("devices/<slug:slug>/edit/", device_editing.device_edit, name="device-edit"),
    path("devices/<slug:slug>/service/", device_editing.device_retire, name="device-retire"),
    path("devices/import/", device_import_page.devices_import, name="devices-import"),
    path("devices/<slug:slug>/", device_page.device, name="device"),
    path("devices/<slug:slug>/connect/", enrolment.device_connect, name="device-connect"),
    path("devices/<slug:slug>/scan/", enrolment.device_scan, name="device-scan"),
    path("devices/<slug:slug>/check/", enrolment.device_check, name="device-check"),
    path("devices/<slug:slug>/hostkey/", enrolment.device_hostkey, name="device-hostkey"),
    path("devices/<slug:slug>/delete/", device_removal.device_delete, name="device-delete"),
    path(
        "devices/<slug:slug>/values/<slug:policy>/<str:name>/",
        overrides_page.override,
        name="device-override",
    ),
    path("tags/", tags_page.tags, name="tags"),
    path("tags/<int:pk>/", tags_page.tag_edit, name="tag"),
    path("tags/<int:pk>/delete/", tags_page.tag_delete, name="tag-delete"),
    path("pause/", pausing_page.pause_new, name="pause"),
    path("pause/end/", pausing_page.pause_end, name="pause-end"),
    path("recovered/", recovered.confirm_recovery, name="confirm-recovery"),
    path("repositories/nodes/", nodes_page.nodes_list, name="nodes"),
    path("repositories/nodes/<slug:slug>/remove/", nodes_page.node_remove, name="node-remove"),
    path("repositories/nodes/<slug:slug>/again/", nodes_page.node_again, name="node-again"),
    path("repositories/console/", own_backup_page.console_backup, name="console-backup"),
    path("runs/<int:number>/", run_page.run, name="run"),
    path("policies/preview/", policy_pages.policy_preview, name="policy-preview"),
    path("policies/export/", policy_file_pages.policies_export, name="policies-export"),
    path("policies/import/", policy_file_pages.policies_import, name="policies-import"),
    path("policies/new/", policy_pages.policy_new, name="policy-new"),
    path("policies/<slug:slug>/", policy_pages.policy, name="policy"),
    path("policies/<slug:slug>/delete/", policy_removal.policy_delete, name="policy-delete"),
]
