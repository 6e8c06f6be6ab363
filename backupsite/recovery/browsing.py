"""Looking into restore points. A worker reads a folder once; pages show what it kept."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction

from agents.browse import list_folder
from agents.errors import PlanRefused
from agents.events import Said, Tell
from agents.restic.trees import Node
from backupsite.engine import console_restic
from backupsite.recovery.folders import Entry, decode_folder, encode_path, folder_key, read_entry, store_entry
from backupsite.recovery.models import Listing, ListingPage, RestorePoint
from backupsite.recovery.origins import find_origin
from backupsite.recovery.places import place_of
from backupsite.recovery.wishes import point_of
from backupsite.runs.kinds import Control, Ended, QueueName
from backupsite.runs.models import Run
from backupsite.runs.requests import request_run
from backupsite.runs.states import State

MOST_ENTRIES = 200_000


def find_listing(point: RestorePoint, folder: str) -> Listing | None:
    """Given a restore point and a folder, return its listing when a worker has read it already."""
    return Listing.objects.filter(point=point, folder_key=folder_key(folder)).first()


def read_page(listing: Listing, number: int) -> list[Entry]:
    """Given a listing and a page's number from 1, return its entries. Empty when there is no such page."""
    page = listing.pages.filter(number=number).first()
    return [read_entry(stored) for stored in page.entries] if page is not None else []


def ask_listing(point: RestorePoint, folder: str, *, requested_by: str) -> Run:
    """Ask a worker to read a folder. Asking again while it is read is the same run."""
    request = {"point": str(point.pk), "folder": encode_path(folder)}
    return request_run(Run.BROWSE, point.device, request=request, requested_by=requested_by)


class Browse:
    """Reads one folder of a restore point."""

    name = Run.BROWSE
    queue: QueueName = "interactive"
    may_retry = False

    def work(self, run: Run, tell: Tell, control: Control) -> Ended:
        point = point_of(run)
        folder = decode_folder(run.request["folder"])
        origin = find_origin([point])
        if origin.is_copy:
            tell(Said(origin.sentence))
        name = origin.name_of(point.restic_id)
        nodes = list_folder(place_of(origin.repository), console_restic(), name, folder)
        if len(nodes) > MOST_ENTRIES:
            raise PlanRefused(
                f"The folder holds {len(nodes):,} entries; at most {MOST_ENTRIES:,} can be shown.",
                remedy="Restore the whole folder instead.",
            )
        control.in_transaction(lambda: keep_listing(point, folder, nodes))
        return Ended(State.SUCCEEDED)


def keep_listing(point: RestorePoint, folder: str, nodes: Sequence[Node]) -> None:
    """Keep what a folder holds. May be called twice."""
    with transaction.atomic():
        listing, is_new = Listing.objects.get_or_create(
            point=point, folder_key=folder_key(folder), defaults={"entry_count": len(nodes)}
        )
        if not is_new:
            return
        size = ListingPage.PAGE_SIZE
        ListingPage.objects.bulk_create(
            ListingPage(
                listing=listing,
                number=start // size + 1,
                entries=[store_entry(node) for node in nodes[start : start + size]],
            )
            for start in range(0, len(nodes), size)
        )
