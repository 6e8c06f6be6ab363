"""Restoring files: staging, swap, forecast.

Words: *staging* is a fresh directory of ours on the file system of the destination; restic writes there and
nowhere else. A *leg* is the part of a restore that goes to one file system, with one staging. The *swap* puts
what is in staging into place, by renaming alone. `walking.sh` says why nobody can send it elsewhere.
"""

from agents.restoring.requests import Conflict, Mode, RestoreOutcome, RestoreRequest

__all__ = ["Conflict", "Mode", "RestoreOutcome", "RestoreRequest"]
