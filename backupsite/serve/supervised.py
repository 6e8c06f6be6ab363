"""What the commands that start several programs have in common: one supervisor, one stop in order."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from django.core.management.base import BaseCommand

from backupsite.serve.supervisor import StopRequested, Supervisor


class SupervisedCommand(BaseCommand):
    """Starts programs, watches them, and stops all of them in order on Ctrl-C."""

    def supervise(self, supervisor: Supervisor, start: Callable[[], None]) -> None:
        """Call `start`, which starts the programs, and watch them until somebody asks for the end. Raise
        GivenUpError when one of them does not stay up; all are stopped then too."""
        try:
            start()
            supervisor.watch()
        except StopRequested:
            pass
        finally:
            self.tell("Stopping ...")
            supervisor.stop()
        self.tell("Stopped.")

    def say(self, name: str, text: str) -> None:
        """Print a line of one of the programs."""
        self.tell(f"{name:>11} | {text}")

    def tell(self, text: str) -> None:
        """Print a line. The terminal may be gone: the programs are still to be stopped in order."""
        with suppress(OSError):
            self.stdout.write(text)
            self.stdout.flush()
