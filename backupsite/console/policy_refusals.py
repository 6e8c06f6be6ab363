"""What a policy may not take: the repositories on the console's own machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from backupsite.console.policy_reading import find_devices
from backupsite.fleet.models import Device
from backupsite.policies.conflicts import Source, find_repository_problem
from backupsite.policies.forms import PolicyForm
from backupsite.policies.source_forms import BaseSourceFormSet
from backupsite.policies.writing import key_of
from backupsite.repositories.default_storage import find_default
from backupsite.repositories.models import Repository, Storage


@dataclass(frozen=True)
class OwnMachine:
    """The console's own machine as a device, where repositories are kept on it, and which of these places is
    its own."""

    device: Device
    places: tuple[str, ...]
    own_place: str

    def find_problem(self, draft: Mapping[str, Any]) -> str:
        """Given a source of it, return why it cannot be taken, "" when it can."""
        source = Source(key_of(draft), draft["path"], draft["excludes"], draft["mode"])
        return find_repository_problem(source, self.places, self.own_place)


def find_own_machine() -> OwnMachine | None:
    """Return the console's own machine; None when it is no device. Runs at most four queries."""
    device = Device.objects.filter(reach=Device.LOCAL).first()
    if device is None:
        return None
    storages = Storage.objects.filter(kind=Storage.DIRECTORY).order_by("id")
    repository = Repository.objects.filter(device=device).select_related("storage").first()
    own = repository.storage if repository is not None else find_default()
    return OwnMachine(device, tuple(each.path for each in storages), own.path if own is not None else "")


def keeps_repositories_out(form: PolicyForm, sources: BaseSourceFormSet) -> bool:
    """Given valid forms, return whether no repository is in a source. Say it at the path."""
    machine = find_own_machine()
    if machine is None or not find_devices(form).filter(pk=machine.device.pk).exists():
        return True
    problems = {row: machine.find_problem(row.draft) for row in sources.forms if row.is_whole}
    for row, problem in problems.items():
        if problem:
            row.add_error("path", problem)
    return not any(problems.values())
