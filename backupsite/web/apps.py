from django.apps import AppConfig


class WebConfig(AppConfig):
    name = "backupsite.web"
    label = "web"
