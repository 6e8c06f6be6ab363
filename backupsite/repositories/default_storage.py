"""Which storage takes the repositories of devices that have none yet: the one that a person marked."""

from __future__ import annotations

from django.db import transaction
from django.http import HttpRequest

from backupsite.accounts.audit import record
from backupsite.repositories.models import Storage


def find_default() -> Storage | None:
    """Return the storage of new repositories: the marked one, else the first. None: there is none."""
    return Storage.objects.order_by("-is_default", "pk").first()


@transaction.atomic
def make_default(actor: str | HttpRequest, storage: Storage) -> bool:
    """Mark a storage, and no other, and say so in the audit trail; return whether that is a change."""
    # In order of their keys: two people who choose at once wait for each other.
    before = [each for each in Storage.objects.select_for_update().order_by("pk") if each.is_default]
    if [each.pk for each in before] == [storage.pk]:
        return False
    Storage.objects.exclude(pk=storage.pk).filter(is_default=True).update(is_default=False)
    Storage.objects.filter(pk=storage.pk).update(is_default=True)
    record(actor, "storage.default", storage.path, {"before": [each.path for each in before]})
    return True
