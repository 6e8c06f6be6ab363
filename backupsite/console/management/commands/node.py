"""`manage.py node add NAME`: a machine that works beside its own storage. Also `list` and `remove`."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from agents.errors import AgentError
from backupsite.console import nodes
from backupsite.repositories.models import Node

HINT = """Type, with the address of its machine and the directory for backups there:

  script/node --add {name}{again} | ssh root@MACHINE /opt/hotfleet/script/node --join --storage /srv/backups

What goes through that pipe opens every repository: it is not shown here."""


class Command(BaseCommand):
    help = "Adds, lists and removes nodes: machines whose workers work beside their own storage."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("what", choices=["add", "list", "remove"])
        parser.add_argument("name", nargs="?", default="")
        parser.add_argument("--same-machine", action="store_true", help="a second node on this machine")
        parser.add_argument(
            "--again", action="store_true", help="the node's machine was lost: another one takes its place"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        name = options["name"]
        if options["what"] == "list":
            for node in Node.objects.order_by("pk"):
                self.stdout.write(
                    f"{node.slug}\t{node.machine}\t{node.version}\t{node.heard_at or 'never heard'}"
                )
            return
        if not name:
            raise CommandError("Write the name of the node.")
        if options["what"] == "add" and sys.stdout.isatty():
            self.stdout.write(HINT.format(name=name, again=" --again" if options["again"] else ""))
            return
        try:
            self._do(options["what"], name, options["same_machine"], options["again"])
        except AgentError as error:
            raise CommandError(" ".join(filter(None, (error.message, error.remedy)))) from error

    def _do(self, what: str, name: str, same_machine: bool, again: bool) -> None:
        if what == "add" and not again:
            self.stdout.write(nodes.add(name, actor="shell", same_machine=same_machine))
            return
        node = Node.objects.filter(slug=name).first()
        if node is None:
            raise CommandError(f"There is no node called {name}.")
        if what == "add":
            self.stdout.write(nodes.add_again(node, actor="shell", same_machine=same_machine))
        else:
            nodes.remove(node, actor="shell")
