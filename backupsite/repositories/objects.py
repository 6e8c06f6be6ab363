"""Storages that are a part of an object store: tested with what a person typed, opened by workers alone."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from agents.gateway.objects_account import Account, ObjectKind
from agents.gateway.objects_trying import Tried, leave_marker, take_marker, try_account
from agents.objects import ObjectLocation
from backupsite import vault
from backupsite.repositories.models import Repository, Storage
from backupsite.repositories.places import StorageRefused
from backupsite.repositories.storage import MARKER, local_folder

_KINDS = {Storage.S3: ObjectKind.S3, Storage.GCS: ObjectKind.GCS, Storage.AZURE: ObjectKind.AZURE}


@dataclass(frozen=True)
class Prepared:
    """An account that was tried, and whose part of the bucket carries our marker now."""

    account: Account
    marker: str
    tried: Tried


def prepare_objects(account: Account) -> Prepared:
    """Try an account and mark its part of the bucket. Raise StoreFailed, or StorageRefused when it belongs to
    another console."""
    tried = try_account(account)
    marker = secrets.token_hex(16)
    if not leave_marker(account, MARKER, marker):
        raise StorageRefused(
            "This part of the bucket belongs to another Hotfleet console (or to an earlier one). Choose "
            f"another prefix; if that console is gone for good, delete the object {MARKER} first."
        )
    return Prepared(account, marker, tried)


def forget_prepared(prepared: Prepared) -> None:
    """Take the marker away again, because the storage was not recorded after all."""
    take_marker(prepared.account, MARKER)


def seal_secret(prepared: Prepared) -> bytes:
    """Return the secret of an account as its row keeps it."""
    return vault.seal(_owner(prepared.marker), prepared.account.secret)


def locate(repository: Repository) -> ObjectLocation | None:
    """Given a repository, return its place in an object store, None for a directory. For workers only."""
    storage = repository.storage
    if storage.kind == Storage.DIRECTORY:
        return None
    account = Account(
        kind=_KINDS[storage.kind],
        bucket=storage.bucket,
        secret=vault.unseal(_owner(storage.marker), storage.sealed_secret),
        account=storage.account,
        endpoint=storage.endpoint,
        region=storage.region,
        prefix=storage.prefix,
    )
    # Behind an address of its own there may be any server: whether it heeds conditions nobody promises.
    is_conditional = storage.kind != Storage.S3 or not storage.endpoint
    spool = local_folder(storage) / "spool"
    return ObjectLocation(account, str(repository.uuid), spool, is_conditional=is_conditional)


def url_of(account: Account) -> str:
    """Return how restic itself names the place: for people, and for the recovery kit."""
    prefix = account.prefix.strip("/")
    if account.kind is ObjectKind.S3:
        region = account.region or "us-east-1"
        host = account.endpoint.rstrip("/") or f"https://s3.{region}.amazonaws.com"
        return f"s3:{host}/{account.bucket}/{prefix}".rstrip("/")
    return f"{'gs' if account.kind is ObjectKind.GCS else 'azure'}:{account.bucket}:/{prefix}"


def _owner(marker: str) -> str:
    return f"repositories.storage:{marker}:secret"
