"""Downloads: a worker takes a file or a folder out of a restore point, then a browser fetches it.

The spool holds only whole files, so that a part of a file can never look like the whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from agents.browse import Archive, save_download
from agents.errors import PlanRefused
from agents.events import Said, Tell
from backupsite.engine import console_restic
from backupsite.recovery.folders import decode_folder, encode_path
from backupsite.recovery.index.reading import measure
from backupsite.recovery.models import Download, RestorePoint
from backupsite.recovery.origins import BEST, find_origin
from backupsite.recovery.places import place_of
from backupsite.repositories.nodes import CONSOLE, is_here
from backupsite.repositories.places import measure_space
from backupsite.runs.kinds import Control, Ended, QueueName
from backupsite.runs.models import Run
from backupsite.runs.requests import ACTIVE, request_run
from backupsite.runs.states import State
from backupsite.web.visible import make_visible

# Begins anew when it is ready: what takes hours to prepare takes hours to fetch.
KEPT_FOR = timedelta(hours=12)
# restic is asked for each by itself.
MOST_PATHS = 200
# The console's own disk must never fill up because of a download.
_RESERVE_BYTES = 1_000_000_000


def spool() -> Path:
    """Return the directory of the downloads that wait, made when it is missing."""
    path = Path(settings.HOTFLEET_HOME) / "downloads"
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def file_of(download: Download) -> Path:
    """Given a download, return its file in the spool (there only when `is_ready`)."""
    return spool() / download.pk.hex


def paths_of(download: Download) -> list[str]:
    """Given a download, return the paths of the restore point that it holds."""
    return [decode_folder(key) for key in download.path_key.split(" ")]


def file_name_of(download: Download) -> str:
    """Given a download, return the name that the browser may give the file."""
    paths = paths_of(download)
    name = (paths[0].rpartition("/")[2] if len(paths) == 1 else "") or download.point.device.slug
    return f"{name}.{download.archive}" if download.archive else name


def tag_of(download: Download) -> str:
    """Given a download, return the name of its content. A file of a restore point is the same whenever it is
    asked for; an archive is made anew each time."""
    if download.archive:
        return download.pk.hex
    said = f"{download.point.restic_id} {download.path_key}"
    return hashlib.sha256(said.encode()).hexdigest()[:32]


def ask_download(
    point: RestorePoint, paths: Sequence[str], *, archive: Archive, requested_by: str, origin: str = BEST
) -> Download:
    """Ask a worker to prepare a download; several paths need an archive. Its run shows how far it is.
    `origin` is where it is read (`recovery.origins`)."""
    said = {"from": origin} if origin != BEST else {}
    with transaction.atomic():
        download = Download.objects.create(
            point=point,
            requested_by=requested_by,
            path_key=" ".join(map(encode_path, paths)),
            archive=archive,
            expires_at=timezone.now() + KEPT_FOR,
        )
        download.run = request_run(
            Run.DOWNLOAD,
            point.device,
            request={"download": str(download.pk), "point": str(point.pk), **said},
            requested_by=requested_by,
        )
        download.save(update_fields=["run"])
    return download


def why_not_fetched(point: RestorePoint) -> str:
    """Return in a sentence why nobody can download what is in a restore point; "" when that can be done."""
    storage = point.repository.storage
    if is_here(storage):
        return ""
    return (
        f"Its repository lies on the node {make_visible(storage.node.name)}, and browsers fetch from the "
        "console alone. Restore it into a folder of a device instead."
    )


def read_archive(text: str) -> Archive:
    """Given an archive as a form or a row names it, return it. Pure."""
    return "tar" if text == "tar" else "zip" if text else ""


class Fetch:
    """Takes a file, or a folder or several paths as an archive, out of a restore point."""

    name = Run.DOWNLOAD
    queue: QueueName = "interactive"
    may_retry = False

    def work(self, run: Run, tell: Tell, control: Control) -> Ended:
        if settings.HOTFLEET_NODE != CONSOLE:
            raise PlanRefused(
                f"The repository lies on the node {settings.HOTFLEET_NODE}; browsers fetch from the console.",
                remedy="Restore it into a folder of a device instead.",
            )
        remove_expired()
        download = Download.objects.select_related("point__repository__storage").filter(run=run).first()
        if download is None:
            raise PlanRefused("The download is gone.", remedy="Ask for it again.")
        free = max(0, measure_space(spool()).free_bytes - _RESERVE_BYTES)
        refuse_too_large(download, free)
        origin = find_origin([download.point], run.request.get("from", BEST))
        if origin.is_copy:
            tell(Said(origin.sentence))
        size = save_download(
            place_of(origin.repository),
            console_restic(),
            origin.name_of(download.point.restic_id),
            paths_of(download),
            archive=read_archive(download.archive),
            into=file_of(download),
            size_limit_bytes=free,
            tell=tell,
            control=control,
        )
        tell(Said(f"Ready to download: {size:,} bytes, kept for {KEPT_FOR.seconds // 3600} hours."))
        control.in_transaction(lambda: _offer(download, size))
        return Ended(State.SUCCEEDED)


def refuse_too_large(download: Download, room_bytes: int) -> None:
    """Raise PlanRefused when it is known to need more than `room_bytes`, before hours of reading. What a zip
    needs nobody knows."""
    measured = measure(download.point, paths_of(download)) if download.archive != "zip" else None
    if measured is not None and measured.bytes > room_bytes:
        raise PlanRefused(
            f"The download has {measured.bytes:,} bytes, and the console has room for {room_bytes:,}.",
            remedy="Restore it into a folder of a device instead, or pick less of it.",
        )


def _offer(download: Download, size_bytes: int) -> None:
    until = timezone.now() + KEPT_FOR
    Download.objects.filter(pk=download.pk).update(is_ready=True, size_bytes=size_bytes, expires_at=until)


def remove_expired() -> None:
    """Remove the downloads whose time is over and that nobody is at, and files that no row knows."""
    over = Download.objects.filter(expires_at__lt=timezone.now())
    over.exclude(Exists(Run.objects.filter(pk=OuterRef("run"), state__in=ACTIVE))).delete()
    known = {pk.hex for pk in Download.objects.values_list("pk", flat=True)}
    for file in spool().iterdir():
        if file.name.partition(".")[0] not in known:
            file.unlink(missing_ok=True)
