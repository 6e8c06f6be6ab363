"""`manage.py serve`: start everything, print one address, stop everything in order on Ctrl-C."""

from __future__ import annotations

import os
import socket

from django.conf import settings
from django.core.management.base import CommandError

from backupsite import environment
from backupsite.serve import lock, programs, web
from backupsite.serve.prepare import prepare
from backupsite.serve.supervised import SupervisedCommand
from backupsite.serve.supervisor import GivenUpError, Supervisor
from backupsite.serve.valkey import NoValkeyError


class Command(SupervisedCommand):
    help = "Starts the console: Valkey, migrations, web, workers, streams, tick. Ctrl-C stops all in order."
    # The checks need the keys that the first start makes; `prepare` runs them after that.
    requires_system_checks: list[str] = []

    def handle(self, *args: object, **options: object) -> None:
        os.umask(0o077)
        home = settings.HOTFLEET_HOME
        problem = environment.home_problem(home)
        if problem:
            raise CommandError(problem)
        try:
            lock.take(home, f"http://127.0.0.1:{settings.HOTFLEET_PORT}/")
            reserved = web.reserve_port(settings.HOTFLEET_PORT)
            supervisor = Supervisor(self.say)
            self.supervise(supervisor, lambda: self._start(supervisor, reserved))
        except (lock.AlreadyRunningError, web.PortBusyError, NoValkeyError, GivenUpError) as error:
            raise CommandError(str(error)) from error

    def _start(self, supervisor: Supervisor, reserved: socket.socket) -> None:
        self.tell(f"Hotfleet starts. Its data is in {settings.HOTFLEET_HOME}")
        if settings.VALKEY_SOCKET is not None:
            supervisor.start(programs.own_valkey(settings.VALKEY_SOCKET))
        first_page = self._prepare(supervisor)
        programs.preload()
        # Of a demo nothing works: it shows a fleet that does not exist.
        working = not settings.HOTFLEET_IS_DEMO
        for queue in settings.HOTFLEET_WORKERS if working else ():
            supervisor.start(programs.workers(queue))
        if working:
            supervisor.start(programs.streams())
        supervisor.start(programs.web_server(reserved))
        if working:
            supervisor.start(programs.tick())
        self.tell(f"\nReady. Open {first_page}\n\nCtrl-C stops everything.")

    def _prepare(self, supervisor: Supervisor) -> str:
        reading, writing = os.pipe()
        supervisor.finish("prepare", lambda: prepare(writing))
        os.close(writing)
        with os.fdopen(reading, encoding="ascii") as answer:
            return answer.read()
