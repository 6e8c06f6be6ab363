"""Entries that a person picked in the file browser: only what a worker really saw in that folder is taken."""

from __future__ import annotations

from collections.abc import Sequence

from django.http import Http404

from backupsite.recovery.browsing import find_listing
from backupsite.recovery.folders import Entry, read_entry
from backupsite.recovery.models import RestorePoint

MOST_PICKED = 1000


def find_entries(point: RestorePoint, folder: str, keys: Sequence[str]) -> list[Entry]:
    """Given the encoded names that were picked in a folder, return their entries in the folder's order.

    A name that is not there would be restored as nothing and called a success. Raise Http404 when one is not
    in the folder, when nobody has read the folder, or when there are too many."""
    wanted = set(keys)
    listing = find_listing(point, folder) if len(wanted) <= MOST_PICKED else None
    if listing is None:
        raise Http404("nobody has read this folder")
    found = []
    for entries in listing.pages.values_list("entries", flat=True).iterator(chunk_size=1):
        found += [read_entry(stored) for stored in entries if stored["n"] in wanted]
        if len(found) == len(wanted):
            return found
    raise Http404("the folder has no such entry")
