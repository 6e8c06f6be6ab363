"""Storages, second copies, adoption, the recovery kit, and what is let go."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.utils import timezone

from agents.commands import Secret
from agents.gateway.objects_account import Account, ObjectKind
from backupsite.fleet.models import Device
from backupsite.policies import pausing
from backupsite.policies.models import Policy
from backupsite.recovery import retiring
from backupsite.recovery.adoptions import ask_adoption
from backupsite.recovery.copies import ask_copy
from backupsite.recovery.models import RestorePoint
from backupsite.recovery.pruning import ask_prune
from backupsite.recovery.wal.storing import ask_to_store
from backupsite.recovery.wal_models import WalStream
from backupsite.repositories import kit, making
from backupsite.repositories.adopting import check_candidate
from backupsite.repositories.models import ConsoleRepository, Repository, Storage
from backupsite.repositories.objects import prepare_objects, seal_secret, url_of
from backupsite.repositories.storage import prepare_storage
from tests.live.desking.fleet import ME


def ask_second_copy(device: str, storage: str) -> int:
    """Have the restore points of a device copied into another storage, as its policy and the tick do. Return
    the run's number."""
    tested = prepare_storage(storage, Path(settings.HOTFLEET_HOME))
    second = Storage.objects.create(
        node=making.first_node(), name=f"second of {device}", path=str(tested.path), marker=tested.marker
    )
    Policy.objects.filter(assignments__device__slug=device).update(copy_storage=second)
    return ask_copy(Repository.objects.get(device__slug=device), requested_by=ME.name).number


def keep_in_objects(device: str, endpoint: str, bucket: str, account: str, secret: str) -> None:
    """Let the repository of a device, which was not made yet, lie in an object store; as its page adds it."""
    found = prepare_objects(Account(ObjectKind.S3, bucket, Secret(secret), account, endpoint))
    storage = Storage.objects.create(
        kind=Storage.S3, node=making.first_node(), name=f"far from {device}", path=url_of(found.account),
        marker=found.marker, endpoint=endpoint, bucket=bucket, account=account,
        sealed_secret=seal_secret(found), reading_costs=True,
    )  # fmt: skip
    Repository.objects.filter(device__slug=device, restic_id="").update(storage=storage)


def let_go_but_the_newest(device: str) -> int:
    """Have the rules keep the newest restore point alone, let the rest of the others be over, and ask for
    their removal as the tick does. Return the run's number."""
    found, never = Device.objects.get(slug=device), timedelta(0)
    names = ("hourly", "daily", "weekly", "monthly", "yearly")
    rules = {f"keep_{name}": 0 for name in names} | {"keep_last": 1, "keep_min": never}
    Policy.objects.filter(assignments__device=found).update(**rules)
    retiring.retire(found, timezone.now())
    RestorePoint.objects.filter(device=found, resting_since__isnull=False).update(rests_until=timezone.now())
    return ask_prune(Repository.objects.get(device=found), requested_by=ME.name).number


def store_log(device: str) -> int:
    """Have what a spool holds of a log stored, as the tick does later. Return the run's number."""
    run = ask_to_store(WalStream.objects.get(device__slug=device))
    if run is None:
        raise ValueError("one has failed just now")
    return run.number


def copy_console() -> None:
    """Have the console copied into its storages, as the button of its page does."""
    ConsoleRepository.objects.update(next_at=timezone.now(), mark="")


def ask_to_adopt(device: str, name: str, password: str) -> int:
    """Have a device adopt a repository beside its own place, as the page does. Return the run's number."""
    found = Device.objects.get(slug=device)
    storage = Storage.objects.get(repositories__device=found)
    check_candidate(storage, name, Secret(password))
    return ask_adoption(found, storage, name, Secret(password), requested_by=ME.name).number


def take_sheet() -> str:
    """Take the sheet beside the recovery kit, as its page does."""
    return kit.hand_out_sheet()


def confirm_recovery() -> int:
    """Say that the old console is off, as the button on the first page does."""
    return pausing.end_pauses(ME, None, now=timezone.now())
