"""A process beside a running console that does what a person does on its pages: one JSON line, one answer.

It shares the console's home (HOTFLEET_HOME) and calls the functions that the pages call: those of `desking`.
"""

from __future__ import annotations

import importlib
import inspect
import json
import sys
import traceback
from collections.abc import Callable
from typing import Any

import django

PARTS = ("fleet", "storages", "drilling", "restoring", "runs")


def list_commands() -> dict[str, Callable[..., Any]]:
    """Return what can be ordered, by name. The models need django.setup first."""
    parts = [importlib.import_module(f"tests.live.desking.{name}") for name in PARTS]
    return {
        name: made
        for part in parts
        for name, made in inspect.getmembers(part, inspect.isfunction)
        if made.__module__ == part.__name__
    }


def main() -> None:
    django.setup()
    commands = list_commands()
    for line in sys.stdin:
        order = json.loads(line)
        try:
            answer = {"answer": commands[order.pop("do")](**order)}
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
