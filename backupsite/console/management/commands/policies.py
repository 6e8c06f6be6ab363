"""`manage.py policies export|import FILE [--dry-run]`: policies as a YAML file, for scripts.

Status 0: done, or nothing to do; 1: the file was refused and nothing was changed; 2: wrong usage;
3: with --dry-run, the file would change something.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import IntegrityError
from django.utils import timezone

from backupsite.console.policy_files import Comparison, Outdated, apply_comparison, compare_file
from backupsite.fleet.devices import Actor
from backupsite.policies.document_rows import read_stored
from backupsite.policies.document_text import write_policies
from backupsite.policies.models import Policy

REFUSED, WOULD_CHANGE = 1, 3


class Command(BaseCommand):
    help = "Write all policies as YAML, or make and change policies as a file says."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        export = actions.add_parser("export", help="write all policies")
        export.add_argument("file", nargs="?", default="-", help="where to; - is the output")
        bring = actions.add_parser("import", help="make and change policies as the file says")
        bring.add_argument("file", help="- is the input")
        bring.add_argument("--dry-run", action="store_true", help="only say what would change (status 3)")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["action"] == "export":
            self._export(options["file"])
        else:
            self._import(options["file"], is_dry=options["dry_run"])

    def _export(self, file: str) -> None:
        text = write_policies(each.state for each in read_stored(Policy.objects.all()))
        if file == "-":
            self.stdout.write(text, ending="")
            return
        try:
            Path(file).write_text(text, encoding="utf-8")
        except OSError as error:
            raise CommandError(f"{file} cannot be written: {error.strerror}", returncode=REFUSED) from error

    def _import(self, file: str, *, is_dry: bool) -> None:
        data = _read(file)
        comparison = compare_file(data)
        if not comparison.is_right:
            raise CommandError(_say_problems(comparison), returncode=REFUSED)
        self._say_changes(comparison)
        if not is_dry:
            _apply(comparison)
        if is_dry and comparison.wanted:
            raise CommandError("Nothing was changed: this was a dry run.", returncode=WOULD_CHANGE)

    def _say_changes(self, comparison: Comparison) -> None:
        for change in comparison.wanted:
            verb = "new" if change.is_new else "changed"
            self.stdout.write(f"{change.name}: {verb}, for {change.device_count} devices")
            for line in change.lines:
                self.stdout.write(f"  {line}")
        self.stdout.write(f"{len(comparison.wanted)} new or changed, {comparison.same_count} as they were")


def _apply(comparison: Comparison) -> None:
    try:
        apply_comparison(Actor("shell"), comparison, timezone.now())
    except (IntegrityError, Outdated) as error:
        text = "Nothing was changed: somebody changed policies or devices meanwhile. Try again."
        raise CommandError(text, returncode=REFUSED) from error


def _read(file: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}", returncode=REFUSED) from error


def _say_problems(comparison: Comparison) -> str:
    reading = comparison.reading
    lines = [f"line {each.line}: {each.sentence}" for each in reading.problems]
    more = [f"and {reading.hidden_count} more"] if reading.hidden_count else []
    return "\n".join([*lines, *more, "Nothing was changed."])
