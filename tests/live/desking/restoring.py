"""Looking into restore points, files of them, restores and comebacks."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from agents.browse import Archive
from agents.restore import Conflict, Mode
from backupsite.fleet.models import Device
from backupsite.recovery.browsing import ask_listing, find_listing, read_page
from backupsite.recovery.comebacks import ask_comeback
from backupsite.recovery.downloads import ask_download, file_of
from backupsite.recovery.index import catching_up, files
from backupsite.recovery.index.reading import under
from backupsite.recovery.models import Download, RestorePoint
from backupsite.recovery.restores import ask_restore, ask_undo
from backupsite.recovery.wishes import Wish
from backupsite.runs.models import Run
from tests.live.desking.fleet import ME


def ask_folder(point: str, folder: str) -> int:
    return ask_listing(RestorePoint.objects.get(pk=point), folder, requested_by=ME.name).number


def read_folder(point: str, folder: str) -> list[str]:
    listing = find_listing(RestorePoint.objects.get(pk=point), folder)
    if listing is None:
        raise ValueError("nobody has read this folder")
    return [entry.name for entry in read_page(listing, 1)]


def list_paths(point: str) -> list[str] | None:
    """Every path of a restore point as the index says it; None while it is not in it."""
    found = under(RestorePoint.objects.select_related("device").get(pk=point), ["/"])
    return [entry.path for entry in found] if found is not None else None


def lose_index(device: str) -> None:
    """Lose the device's index, and have the tick notice."""
    found = Device.objects.get(slug=device)
    files.remove(files.file_of(found))
    catching_up.look(datetime.fromtimestamp(found.pk % catching_up.SLOTS * catching_up.SLOT_S, UTC))


def ask_files(point: str, folder: str, target: str, origin: str = "") -> int:
    found = RestorePoint.objects.get(pk=point)
    size = found.size_bytes
    wish = Wish(found, folder, (), target, Conflict.SKIP, Mode.MERGE, size_bytes=size, origin=origin)
    return ask_restore(wish, has_safety=False, token=str(uuid.uuid4()), requested_by=ME.name).number


def ask_replacement(point: str, names: list[str], mode: str) -> int:
    """Ask for these entries of a restore point in their original place, with a safety restore point."""
    found = RestorePoint.objects.get(pk=point)
    wish = Wish(found, found.top_folder, tuple(names), None, Conflict.REPLACE, Mode(mode))
    return ask_restore(wish, has_safety=True, token=str(uuid.uuid4()), requested_by=ME.name).number


def ask_elsewhere(point: str, device: str, target: str, replaces: bool = False) -> int:
    """Ask for a whole restore point in a folder of another device; what it replaces is saved first."""
    found, other = RestorePoint.objects.get(pk=point), Device.objects.get(slug=device)
    conflict = Conflict.REPLACE if replaces else Conflict.SKIP
    wish = Wish(found, found.top_folder, (), target, conflict, Mode.MERGE, onto=other)
    return ask_restore(wish, has_safety=replaces, token=str(uuid.uuid4()), requested_by=ME.name).number


def ask_to_undo(number: int) -> int:
    return ask_undo(Run.objects.get(number=number), token=str(uuid.uuid4()), requested_by=ME.name).number


def ask_to_come_back(point: str, wish: dict[str, Any]) -> int:
    """Ask for an application as its page does."""
    found = RestorePoint.objects.get(pk=point)
    return ask_comeback(found, wish, token=str(uuid.uuid4()), requested_by=ME.name).number


def ask_file(point: str, path: str, archive: Archive, name: str = ME.name) -> list[Any]:
    """Ask for a download. Return its id and its run's number."""
    download = ask_download(RestorePoint.objects.get(pk=point), [path], archive=archive, requested_by=name)
    if download.run is None:
        raise ValueError("the download has no run")
    return [str(download.pk), download.run.number]


def file_path(download: str) -> str:
    found = Download.objects.get(pk=download, is_ready=True)
    return str(file_of(found))
