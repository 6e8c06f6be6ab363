"""How runs look on the fleet page and on the pages of a device: as on their own pages."""

from __future__ import annotations

from backupsite.runs.looks import LOOKS, run_status

__all__ = ["LOOKS", "run_status"]
