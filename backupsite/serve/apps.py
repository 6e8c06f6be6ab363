from __future__ import annotations

from django.apps import AppConfig


class ServeConfig(AppConfig):
    name = "backupsite.serve"
