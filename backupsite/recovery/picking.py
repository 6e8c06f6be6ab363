"""What a person picked in the file browser: only what is known to be in the restore point is taken."""

from __future__ import annotations

from collections.abc import Sequence

from django.http import Http404

from backupsite.recovery.browsing import find_listing
from backupsite.recovery.folders import Entry, decode_folder, decode_path, encode_path, join, read_entry
from backupsite.recovery.index.reading import IndexEntry, find
from backupsite.recovery.models import RestorePoint

MOST_PICKED = 1000
# What fits into an address, while a person looks around.
MOST_CARRIED = 500


def know_paths(point: RestorePoint, keys: Sequence[str]) -> list[IndexEntry]:
    """Given encoded paths as an address carries them, return those that the restore point holds, each once.

    Nothing when it is not in the index. Raise Http404 when one is no path at all."""
    found = find(point, _decode(keys[:MOST_CARRIED])) if keys else {}
    return list(found.values()) if found is not None else []


def find_paths(point: RestorePoint, keys: Sequence[str]) -> list[IndexEntry]:
    """Given the encoded paths that were picked, from any folders, return their entries.

    A path that is not there would be restored as nothing and called a success. Raise Http404 when one is not
    in the restore point, when it is not in the index, or when there are too many."""
    paths = _decode(keys) if len(keys) <= MOST_PICKED else []
    found = find(point, paths)
    if not paths or found is None or len(found) != len(paths):
        raise Http404("the restore point holds no such path")
    return list(found.values())


def _decode(keys: Sequence[str]) -> list[str]:
    try:
        return list(dict.fromkeys(decode_folder(key) for key in keys))
    except ValueError as error:
        raise Http404(str(error)) from None


def find_entries(point: RestorePoint, folder: str, keys: Sequence[str]) -> list[Entry]:
    """Given the encoded names that were picked in a folder, return their entries in the folder's order.

    A name that is not there would be restored as nothing and called a success. Raise Http404 when one is not
    in the folder, when nobody has read the folder, or when there are too many."""
    wanted = set(keys)
    if not wanted or len(wanted) > MOST_PICKED:
        raise Http404("nothing was picked, or too much")
    found = _find_indexed(point, folder, wanted)
    if found is None:
        found = _find_listed(point, folder, wanted)
    if len(found) != len(wanted):
        raise Http404("the folder has no such entry")
    return found


def _find_indexed(point: RestorePoint, folder: str, keys: set[str]) -> list[Entry] | None:
    try:
        names = {join(folder, decode_path(key)) for key in keys}
    except ValueError as error:
        raise Http404(str(error)) from None
    found = find(point, sorted(names))
    if found is None:
        return None
    return [make_entry(entry, folder) for entry in found.values()]


def make_entry(entry: IndexEntry, folder: str) -> Entry:
    """Given an entry of the index and a folder above it, return it as an entry of that folder: its name is
    the way to it from there."""
    name = entry.path.removeprefix(folder.rstrip("/") + "/")
    return Entry(
        name=name,
        key=encode_path(name),
        kind=entry.kind,
        size_bytes=entry.size_bytes,
        mode=0,
        modified_at=entry.modified_at,
        owner="",
        link_target="",
    )


def _find_listed(point: RestorePoint, folder: str, keys: set[str]) -> list[Entry]:
    listing = find_listing(point, folder)
    if listing is None:
        raise Http404("nobody has read this folder")
    found: list[Entry] = []
    for entries in listing.pages.values_list("entries", flat=True).iterator(chunk_size=1):
        found += [read_entry(stored) for stored in entries if stored["n"] in keys]
        if len(found) == len(keys):
            break
    return found
