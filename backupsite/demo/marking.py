"""A demo lives in a home of its own, with a mark in it, and never becomes a console that works."""

from __future__ import annotations

from pathlib import Path

from backupsite.environment import DEMO_FILE, is_demo

# What a home holds that was only looked at: it may still become a demo's.
_HARMLESS = {"console-id", "secret-key", "static", DEMO_FILE}


class NotADemoError(Exception):
    """This home holds a real console. The text is one sentence with its remedy."""


def claim(home: Path, database_url: str) -> None:
    """Mark a home as a demo's. Raise NotADemoError when it holds anything else, or points at a database."""
    if database_url:
        raise NotADemoError("DATABASE_URL is set: a demo keeps its own SQLite file. Unset it.")
    if not is_demo(home) and {each.name for each in home.iterdir()} - _HARMLESS:
        raise NotADemoError(f"{home} holds a console. Set HOTFLEET_HOME to an empty directory for the demo.")
    (home / DEMO_FILE).write_text(
        "This is the home of a Hotfleet demo. Nothing in it is real.\n", encoding="utf-8"
    )
