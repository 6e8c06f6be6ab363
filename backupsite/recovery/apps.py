from django.apps import AppConfig


class RecoveryConfig(AppConfig):
    name = "backupsite.recovery"
    label = "recovery"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from backupsite.policies import selecting
        from backupsite.recovery import (
            copies,
            drill_due,
            maintenance_due,
            retiring,
            retiring_clock,
            retiring_own,
        )
        from backupsite.recovery.adoptions import Adopt
        from backupsite.recovery.backups import Backup
        from backupsite.recovery.browsing import Browse
        from backupsite.recovery.comebacks import ComeBack
        from backupsite.recovery.copies import Copy
        from backupsite.recovery.downloads import Fetch
        from backupsite.recovery.drill_samples import LookInto
        from backupsite.recovery.drills import Prove
        from backupsite.recovery.forecasts import Foresee
        from backupsite.recovery.index import catching_up
        from backupsite.recovery.maintenance import Check
        from backupsite.recovery.pruning import Prune
        from backupsite.recovery.restores import Restore
        from backupsite.recovery.stored import repair, restate
        from backupsite.recovery.wal import notes, wishes
        from backupsite.recovery.wal.storing import StoreLog
        from backupsite.runs import afterwork, checking, kinds, tick

        for kind in (
            Backup(),
            Restore(),
            Browse(),
            Fetch(),
            Prove(),
            LookInto(),
            Foresee(),
            ComeBack(),
            StoreLog(),
            Adopt(),
            Check(),
            Prune(),
            Copy(),
        ):
            kinds.register(kind)
        checking.when_facts_change(restate)
        selecting.when_leaving(retiring_own.hold_what_they_kept)
        tick.add_step(repair)
        tick.add_step(drill_due.look)
        tick.add_step(maintenance_due.look)
        tick.add_step(copies.look)
        tick.add_step(catching_up.look)
        tick.add_step(wishes.look)
        tick.add_step(notes.look)
        tick.add_step(notes.look_for_slots)
        afterwork.add_step(catching_up.after_run)
        tick.add_step(retiring_clock.look)
        tick.add_step(retiring.look)
        afterwork.add_step(retiring.after_run)
