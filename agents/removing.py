"""Removing what is ours on a device, for shell that does more than that (removing.sh)."""

from __future__ import annotations

from functools import cache
from pathlib import Path


@cache
def read_removing() -> str:
    """Return shell functions: `remove`, `has_mounts`, `is_there`."""
    return Path(__file__).with_suffix(".sh").read_text()
