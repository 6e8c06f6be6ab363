from django.apps import AppConfig


class RunsConfig(AppConfig):
    name = "backupsite.runs"
    label = "runs"
    default_auto_field = "django.db.models.BigAutoField"
