from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    name = "backupsite.console"
    label = "console"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from backupsite.console import nodes_heard, own_backup, space_chore
        from backupsite.runs import chores, tick

        chores.register(own_backup.CHORE, own_backup.back_up_where_due)
        tick.add_step(own_backup.look)
        chores.register(space_chore.CHORE, space_chore.measure)
        tick.add_step(space_chore.look)
        tick.add_step(nodes_heard.look)
