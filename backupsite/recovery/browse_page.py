"""The file browser of a restore point that is in the index: sorted, paged, picks stay while one looks on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.core.paginator import Paginator
from django.http import QueryDict

from backupsite.recovery.folders import encode_path
from backupsite.recovery.index.reading import SORTS, FolderPage, IndexEntry, entries, find_place
from backupsite.recovery.models import RestorePoint
from backupsite.recovery.picking import MOST_CARRIED, know_paths

PAGE_SIZE = 200
FARTHEST_PAGE = 1_000_000
ICONS = {"dir": "folder", "file": "file", "symlink": "link"}
KINDS = {
    "dir": "Folder", "file": "File", "symlink": "Link", "dev": "Block device", "chardev": "Character device",
    "fifo": "Pipe", "socket": "Socket",
}  # fmt: skip
COLUMNS = (("name", "Name"), ("kind", "Type"), ("size", "Size"), ("modified", "Changed"))


@dataclass(frozen=True)
class ShownPath:
    """One line of the file browser, or one pick."""

    entry: IndexEntry
    is_picked: bool

    @property
    def icon(self) -> str:
        return icon_of(self.entry.kind)

    @property
    def kind(self) -> str:
        return say_kind(self.entry.kind)

    @property
    def name_key(self) -> str:
        """The name as forms carry it that speak of one folder."""
        return encode_path(self.entry.name)


@dataclass(frozen=True)
class Column:
    """A head that sorts: `query` is the order that pressing it asks for."""

    label: str
    query: str
    direction: str  # as aria-sort says it, "" when another column sorts


@dataclass(frozen=True)
class Way:
    """A folder on the way to the one that is shown."""

    name: str
    key: str


def icon_of(kind: str) -> str:
    """Given the kind of a path, return its icon."""
    return ICONS.get(kind, "disk")


def say_kind(kind: str) -> str:
    """Given the kind of a path, return it in a word."""
    return KINDS.get(kind, "Other")


def indexed_context(point: RestorePoint, folder: str, given: QueryDict) -> dict[str, Any] | None:
    """Return what the file browser shows of a folder; None when the restore point is not in the index.

    Runs no query of the database."""
    sort = given.get("sort", "name")
    sort = sort if sort in SORTS else "name"
    place = find_place(point)
    found = read_page(point, folder, _number(given.get("page")), sort) if place is not None else None
    if place is None or found is None:
        return None
    listed, number = found
    picked = {entry.path: entry for entry in know_paths(point, given.getlist("path"))}
    here = {entry.path for entry in listed.entries}
    return {
        "is_indexed": True,
        "page": Paginator(range(listed.total), PAGE_SIZE).get_page(number),
        "entries": [ShownPath(entry, entry.path in picked) for entry in listed.entries],
        "elsewhere": [ShownPath(entry, True) for path, entry in picked.items() if path not in here],
        "too_many": len(given.getlist("path")) > MOST_CARRIED,
        "carried": urlencode([("path", entry.key) for entry in picked.values()]),
        "total": listed.total,
        "sort": sort,
        "columns": make_columns(sort),
        "ways": make_ways(folder),
        "skipped_count": place.skipped,
    }


def read_page(point: RestorePoint, folder: str, number: int, sort: str) -> tuple[FolderPage, int] | None:
    """Return a page of a folder and its number; the last page when there is none of this number."""
    found = entries(point, folder, page=number, sort=sort, size=PAGE_SIZE)
    if found is None or found.entries or number == 1:
        return (found, number) if found is not None else None
    last = max(1, -(-found.total // PAGE_SIZE))
    found = entries(point, folder, page=last, sort=sort, size=PAGE_SIZE)
    return (found, last) if found is not None else None


def _number(text: str | None) -> int:
    return min(int(text), FARTHEST_PAGE) or 1 if text and text.isascii() and text.isdigit() else 1


def make_columns(sort: str) -> list[Column]:
    """Given the order that is shown, return the heads: pressing one again turns its order round."""
    now = {sort.lstrip("-"): "descending" if sort.startswith("-") else "ascending"}
    return [Column(label, f"-{name}" if sort == name else name, now.get(name, "")) for name, label in COLUMNS]


def make_ways(folder: str) -> list[Way]:
    """Return every folder from / to this one."""
    parts = [part for part in folder.split("/") if part]
    paths = ["/"] + ["/" + "/".join(parts[: count + 1]) for count in range(len(parts))]
    return [Way(path.rpartition("/")[2] or "/", encode_path(path)) for path in paths]
