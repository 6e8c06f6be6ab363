from django.apps import AppConfig


class DemoConfig(AppConfig):
    name = "backupsite.demo"
    label = "demo"
