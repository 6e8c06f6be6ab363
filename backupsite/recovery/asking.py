"""A form is one run, however often it is sent, and a run is what its form asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import transaction

from backupsite.fleet.models import Device
from backupsite.runs.models import Run
from backupsite.runs.requests import lock_numbers, request_run

Note = Callable[[Run], None]
# What is known of the size may be learnt between two clicks, how far the run came is its own: nobody asked
# for it.
_NOT_ASKED = ("form", "size_bytes", "saved")


class FormWasSent(Exception):
    """The form started a run already, and now it asks for something else: the browser went back to it."""

    def __init__(self, run: Run) -> None:
        super().__init__(
            f"This form was sent already, and run #{run.number} does what it said then. Nothing more was "
            "started: open the page again to ask for something else."
        )


def no_note(run: Run) -> None:
    """Write nothing about a new run."""


def ask_once(
    kind: str,
    device: Device,
    request: dict[str, Any],
    *,
    token: str,
    requested_by: str,
    note: Note = no_note,
    beside: Device | None = None,
) -> Run:
    """Given what the form with this token asks for, return its run. A new one is made only the first time,
    and `note` writes about it in the same transaction. `beside`: whose node works on it. Raise FormWasSent
    when it asked for something else."""
    with transaction.atomic():
        lock_numbers()
        asked = Run.objects.filter(kind=kind, device=device, request__form=token).first()
        if asked is None:
            whole = {**request, "form": token}
            asked = request_run(kind, device, request=whole, requested_by=requested_by, beside=beside)
            note(asked)
        elif _wanted(asked.request) != _wanted(request):
            raise FormWasSent(asked)
        return asked


def _wanted(request: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in request.items() if name not in _NOT_ASKED}
