"""Where one device's repository lies on this machine, and its door for one run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from agents.commands import Secret
from agents.errors import AgentError, Cancelled, LeaseLost, RepositoryRefused
from agents.events import Level, Said, Tell
from agents.flow import Control
from agents.gateway import (
    Gateway,
    Journal,
    KeyFile,
    LocalStore,
    Rights,
    make_credentials,
    read_broken_rule,
    read_journal,
    set_aside,
)
from agents.gateway.metered import Meter, MeteredStore
from agents.gateway.store import OpenStore
from agents.gateway.target import Kind, Target
from agents.metered import MeteredLocation
from agents.objects import ObjectLocation
from agents.restic import arguments
from agents.restic.binary import Binary
from agents.restic.location import Location, locate
from agents.restic.repository import Repository, open_repository
from agents.session import Door, Session


@dataclass(frozen=True, slots=True)
class RepositoryPlace:
    """A repository in a directory of this machine. `journals` is a directory beside it, one file a run;
    `storage` the directory of all repositories, which a backup of this very machine leaves out. With
    `objects` the repository lies there, and `path` is but the name for what this machine keeps of it. With a
    `meter` all that is read of it is counted, by restic too: that one works through a gateway then."""

    path: Path
    journals: Path
    password: Secret
    storage: Path | None = None
    objects: ObjectLocation | None = None
    meter: Meter | None = None

    @property
    def location(self) -> Path | Location:
        """What opens it for restic, and makes it."""
        plain = self.objects or self.path
        if self.meter is None:
            return plain
        return MeteredLocation(locate(plain), self.open_store)

    def open_store(self) -> OpenStore:
        """Open its files; a context manager. Raise StoreFailed when it is not there."""
        store = self.objects.open_store() if self.objects is not None else LocalStore(self.path)
        return store if self.meter is None else MeteredStore(store, self.meter)

    def is_there(self) -> bool:
        """Return whether there is a repository. Raise StoreFailed when that cannot be known."""
        return self.objects.is_there() if self.objects is not None else (self.path / "config").exists()

    def holds(self, snapshot_id: str) -> bool:
        """Return whether a snapshot is there. Raise StoreFailed when that cannot be known."""
        if self.objects is None:
            return (self.path / "snapshots" / snapshot_id).is_file()
        return self.objects.open_store().size(Target(Kind.SNAPSHOTS, snapshot_id)) is not None


@dataclass(frozen=True, slots=True)
class OpenDoor:
    """What a restic on the device needs to reach the repository, and who serves it here."""

    gateway: Gateway
    environment: dict[str, str | Secret]


@contextmanager
def open_place(place: RepositoryPlace, binary: Binary, tell: Tell) -> Iterator[Repository]:
    """Open the repository, first making what dead runs left useful: their packs are adopted, so that they are
    not sent again. Only while no other run works on this repository: the database sees to that.

    Raise RepositoryBroken when it does not open."""
    place.journals.mkdir(mode=0o700, exist_ok=True)
    with open_repository(place.location, place.password, binary) as repository:
        _adopt(place, repository, tell)
        yield repository


@contextmanager
def open_beside(place: RepositoryPlace, binary: Binary) -> Iterator[tuple[RepositoryPlace, Repository]]:
    """Open the repository for a run that only reads it, beside whichever run writes there: nothing of that
    one is adopted or removed. Return it with its place for `open_door`, whose journals no other run finds.

    Only one such run works at a time. Raise RepositoryBroken when it does not open."""
    journals = place.journals / "reading"
    journals.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in journals.glob("*.jsonl"):  # of a dead run: who only reads made nothing
        left.unlink()
    with open_repository(place.location, place.password, binary) as repository:
        yield replace(place, journals=journals), repository


def _adopt(place: RepositoryPlace, repository: Repository, tell: Tell) -> None:
    found = sorted(place.journals.glob("*.jsonl"))
    condemned = [journal for journal in found if read_broken_rule(journal)]
    for journal in condemned:
        aside = set_aside(place.path, journal, place.open_store)
        tell(Said(f"An earlier run broke a rule: its files were set aside in {aside}.", Level.WARNING))
    journals = [journal for journal in found if journal not in condemned]
    entries = [entry for journal in journals for entry in read_journal(journal)]
    if entries:
        sent = sum(entry.size for entry in entries if entry.kind is Kind.DATA)
        tell(Said(f"An earlier run was cut off after {sent:,} bytes: its data is made part of the index."))
        repository.adopt([entry.name for entry in entries if entry.kind is Kind.LOCKS])
    if found:
        with place.open_store() as store:
            store.remove_temporary()
    for journal in journals:
        journal.unlink()


@contextmanager
def open_door(
    session: Session,
    place: RepositoryPlace,
    repository: Repository,
    *,
    run_id: str,
    rights: Rights,
    control: Control,
) -> Iterator[OpenDoor]:
    """Open the gateway of one run and its way to the device; both are gone with the context.

    The run's journal is removed only when the context ends well: otherwise the next run adopts its packs.
    Raise RepositoryRefused when the device broke a rule, whatever else it said: its files are set aside."""
    credentials = make_credentials()
    key = repository.make_run_key()
    journal_path = place.journals / f"{run_id}.jsonl"
    judging = _judging(place, journal_path, control)
    with judging, place.open_store() as store, Journal(journal_path) as journal:
        gateway = Gateway(
            store,
            credentials,
            rights=rights,
            journal=journal,
            run_key=KeyFile(key.name, key.content),
            is_current=control.is_current,
        )
        try:
            with session.open_door(gateway.serve) as door:
                yield OpenDoor(
                    gateway, _environment(door, key.password, credentials.user, credentials.password)
                )
        finally:
            gateway.close()
    journal_path.unlink()


@contextmanager
def _judging(place: RepositoryPlace, journal: Path, control: Control) -> Iterator[None]:
    """When the run broke a rule, set its files aside and say so instead of what its restic made of it.

    A run that does not hold its lease any more leaves that to the next one, which reads the same journal."""
    try:
        yield
    except (Cancelled, LeaseLost):
        raise
    except AgentError as error:
        _raise_when_broken(place, journal, control, error)
        raise
    _raise_when_broken(place, journal, control, None)


def _raise_when_broken(
    place: RepositoryPlace, journal: Path, control: Control, error: AgentError | None
) -> None:
    rule = read_broken_rule(journal)
    if not rule:
        return
    if not control.is_current():
        raise LeaseLost("The run broke a rule, and lost its lease: the next run sets its files aside.")
    aside = set_aside(place.path, journal, place.open_store)
    raise RepositoryRefused(
        f"The device broke a rule of its repository ({rule}). What this run stored was set aside in {aside}.",
        remedy="Find out why before you trust this device again: it may be compromised. Restore points of "
        "earlier runs were not touched.",
        detail=error.detail if error is not None else "",
    ) from error


def _environment(door: Door, password: Secret, user: str, user_password: Secret) -> dict[str, str | Secret]:
    return dict(arguments.environment(door.repository_url, password, user=user, user_password=user_password))
