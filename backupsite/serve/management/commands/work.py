"""`manage.py work`: a node. Workers, streams and the beat, started and stopped by one command."""

from __future__ import annotations

import os

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError

from backupsite import environment
from backupsite.serve import lock, programs
from backupsite.serve.supervised import SupervisedCommand
from backupsite.serve.supervisor import GivenUpError, Supervisor


class Command(SupervisedCommand):
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
            supervisor = Supervisor(self.say)
            self.supervise(supervisor, lambda: self._start(supervisor))
        except (lock.AlreadyRunningError, GivenUpError) as error:
            raise CommandError(str(error)) from error

    def _start(self, supervisor: Supervisor) -> None:
        supervisor.finish("claim", lambda: call_command("join", claim=True))
        programs.preload()
        for queue in settings.HOTFLEET_WORKERS:
            supervisor.start(programs.workers(queue))
        supervisor.start(programs.streams())
        supervisor.start(programs.beat())
        self.tell(f"\nReady. This is the node {settings.HOTFLEET_NODE}.\n\nCtrl-C stops everything.")
