"""`python -m tests.bench <name>...`: runs the named benches; without a name says which there are."""

from __future__ import annotations

import importlib
import logging
import sys
from pathlib import Path

from tests.bench import report
from tests.live.machine import missing_parts

NAMES = (
    "full", "nochange", "overhead", "memory", "impact", "fleet", "million", "restore", "pages", "index",
    "dispatch",
)  # fmt: skip


def main(names: list[str]) -> None:
    if not names or not set(names) <= set(NAMES):
        raise SystemExit(f"Usage: python -m tests.bench {{{' | '.join(NAMES)}}}...\n{_about()}")
    if missing := missing_parts():
        raise SystemExit(f"The bench needs: {', '.join(missing)}")
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)
    for name in names:
        report.print_head(name)
        importlib.import_module(f"tests.bench.{name}").run()


def _about() -> str:
    return Path(__file__).with_name("README.md").read_text()


if __name__ == "__main__":
    main(sys.argv[1:])
