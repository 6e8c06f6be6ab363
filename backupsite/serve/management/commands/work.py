"""`manage.py work`: a node. Workers, streams and the beat, started and stopped by one command."""

from __future__ import annotations

import os
from contextlib import suppress

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from backupsite import environment
from backupsite.serve import lock, programs
from backupsite.serve.supervisor import GivenUpError, StopRequested, Supervisor


class Command(BaseCommand):
    help = "Works for the console as the node that this machine joined as. Ctrl-C stops all in order."

    def handle(self, *args: object, **options: object) -> None:
        os.umask(0o077)
        home = settings.HOTFLEET_HOME
        problem = environment.home_problem(home)
        if problem:
            raise CommandError(problem)
        if not settings.HOTFLEET_JOINED.is_claimed:
            raise CommandError("This is no node. Join first: script/node --join.")
        try:
            lock.take(home, f"node {settings.HOTFLEET_NODE}")
            self._run(Supervisor(self._say))
        except (lock.AlreadyRunningError, GivenUpError) as error:
            raise CommandError(str(error)) from error

    def _run(self, supervisor: Supervisor) -> None:
        try:
            supervisor.finish("claim", lambda: call_command("join", claim=True))
            programs.preload()
            for queue in settings.HOTFLEET_WORKERS:
                supervisor.start(programs.workers(queue))
            supervisor.start(programs.streams())
            supervisor.start(programs.beat())
            self._tell(f"\nReady. This is the node {settings.HOTFLEET_NODE}.\n\nCtrl-C stops everything.")
            supervisor.watch()
        except StopRequested:
            pass
        finally:
            self._tell("Stopping ...")
            supervisor.stop()
        self._tell("Stopped.")

    def _say(self, name: str, text: str) -> None:
        self._tell(f"{name:>11} | {text}")

    def _tell(self, text: str) -> None:
        # The terminal may be gone: the programs are still to be stopped in order.
        with suppress(OSError):
            self.stdout.write(text)
            self.stdout.flush()
