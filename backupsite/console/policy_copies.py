"""Which devices of a policy can have no second copy where it says, because no machine reaches both places."""

from __future__ import annotations

from django.db.models import QuerySet

from backupsite.fleet.models import Device
from backupsite.policies.forms import PolicyForm
from backupsite.repositories import nodes
from backupsite.repositories.models import Storage
from backupsite.web.formatting import format_count
from backupsite.web.visible import make_visible


def find_unreached(form: PolicyForm, devices: QuerySet[Device]) -> list[str]:
    """Given a policy's form as it is typed and its devices, return in a sentence those whose repository does
    not lie with their second copy. Runs one query, three more where there are nodes."""
    storage: Storage | None = form.cleaned_data.get("copy_storage")
    if storage is None or storage.kind != Storage.DIRECTORY or not nodes.others():
        return []
    with_it = nodes.list_devices_of(storage.node).values("pk")
    unreached = devices.exclude(pk__in=with_it)
    if storage.node.slug == nodes.CONSOLE:
        unreached = unreached.exclude(reach=Device.LOCAL)
    if not (count := unreached.count()):
        return []
    have = "1 device gets" if count == 1 else f"{format_count(count)} devices get"
    return [
        f"{have} no second copy: {make_visible(storage.name)} lies on the node "
        f"{make_visible(storage.node.name)}, and their repositories on others. No machine reaches both: "
        "choose an object store, or a policy for each node."
    ]
