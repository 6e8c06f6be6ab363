from django.apps import AppConfig


class RunsConfig(AppConfig):
    name = "backupsite.runs"
    label = "runs"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from backupsite.runs import kinds
        from backupsite.runs.checking import Probe, Scan

        for kind in (Probe(), Scan()):
            kinds.register(kind)
