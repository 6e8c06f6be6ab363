from __future__ import annotations

from django.apps import AppConfig


class ServeConfig(AppConfig):
    name = "backupsite.serve"

    def ready(self) -> None:
        # Django knows a check once its module was imported.
        from backupsite import checks  # noqa: F401 (imported for that effect)
