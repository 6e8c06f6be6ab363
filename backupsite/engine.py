"""The restic that this console uses, and its own name on devices."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

from agents.restic.binary import Binary, find_binary


@cache
def console_restic() -> Binary:
    """Return the console's restic: the one that script/setup put beside Python, else one on PATH.

    Raise ToolMissing, with what to do, when there is none. Reads its 25 MB once a process."""
    return find_binary([Path(sys.prefix) / "bin"])
