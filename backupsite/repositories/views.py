"""The page of the repositories and of the disks that they lie on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from agents.errors import AgentError
from backupsite.repositories.console_state import list_own_backups
from backupsite.repositories.default_storage import find_default
from backupsite.repositories.kit import list_unprinted, write_directory
from backupsite.repositories.models import RecoveryPassword, Repository, Storage
from backupsite.repositories.nodes import is_here
from backupsite.repositories.places import Space, measure_space
from backupsite.repositories.space_state import list_devices, list_storages
from backupsite.repositories.storage import require_storage

PAGE_SIZE = 50


@dataclass(frozen=True)
class StorageRow:
    """A storage as it is now. `space` is None and `problem` says why when it is not there."""

    storage: Storage
    space: Space | None
    problem: str
    remedy: str

    @property
    def used_percent(self) -> int:
        return (
            0 if self.space is None else round(100 * self.space.used_bytes / max(self.space.total_bytes, 1))
        )

    @property
    def tone(self) -> str:
        return "bad" if self.used_percent >= 95 else "warn" if self.used_percent >= 85 else "good"


@require_GET
def repositories(request: HttpRequest) -> HttpResponse:
    rows = Repository.objects.select_related("device", "storage", "copy_of__device").order_by(
        "device__name", "pk"
    )
    context = {
        "storages": [_look_at(storage) for storage in Storage.objects.select_related("node").order_by("id")],
        "default_storage": find_default(),
        "page": Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page")),
        "spaces": list_storages(timezone.now().date()),
        "largest": list_devices(timezone.now().date()),
        "own_backups": list_own_backups(timezone.now()),
        "unprinted": list_unprinted(),
        "kit": RecoveryPassword.objects.order_by("id").last(),
    }
    return render(request, "repositories/repositories.html", context)


@require_GET
def repositories_list(request: HttpRequest) -> HttpResponse:
    """The restic commands of every repository as a text file. It holds no secret."""
    response = HttpResponse(write_directory(), content_type="text/plain; charset=utf-8")
    response["Content-Disposition"] = 'attachment; filename="hotfleet-repositories.txt"'
    return response


def _look_at(storage: Storage) -> StorageRow:
    if not is_here(storage):
        # What its node measured last.
        if storage.total_bytes is None or storage.free_bytes is None:
            return StorageRow(storage, None, "", "")
        return StorageRow(storage, Space(storage.total_bytes, storage.free_bytes), "", "")
    if storage.kind != Storage.DIRECTORY:
        return StorageRow(storage, None, "", "")
    try:
        require_storage(storage)
        return StorageRow(storage, measure_space(Path(storage.path)), "", "")
    except AgentError as error:
        return StorageRow(storage, None, error.message, error.remedy)
    except OSError as error:
        return StorageRow(storage, None, f"{storage.path} cannot be read: {error.strerror}.", "")
