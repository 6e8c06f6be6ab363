"""Where a drill works: on the console's own machine, or on a device that a rule or a person chose."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.db.models import Exists, OuterRef, Q

from agents.errors import PlanRefused
from backupsite.fleet.models import Device, HostKey
from backupsite.recovery.drill_models import DrillRule
from backupsite.recovery.models import RestorePoint
from backupsite.runs.models import Run

# That many names are offered to whoever types one.
MOST_OFFERED = 200
_WORD = "machine"
MACHINE_WORDS = (
    "Empty: the console's own machine. A device needs the applications' programs and room in /var/tmp. For "
    "as long as a drill lasts it holds the restored data and a key that reads every restore point of the "
    "device that is drilled: choose one that you trust with both. The time to recover is then measured over "
    "the network."
)


def list_machines() -> list[str]:
    """Return names of devices that can be reached, for a form. Runs one query."""
    approved = HostKey.objects.filter(device=OuterRef("pk"), state=HostKey.APPROVED)
    reachable = Device.objects.filter(Q(reach=Device.LOCAL) | Exists(approved))
    return list(reachable.order_by("name").values_list("name", flat=True)[:MOST_OFFERED])


def find_machine(name: str) -> Device | None:
    """Given the name that somebody typed, return the device, None for the console's machine when it is empty.
    Raise ValidationError when there is no such device."""
    if not name.strip():
        return None
    found = Device.objects.filter(name=name.strip()).first()
    if found is None:
        raise ValidationError("There is no device of this name.")
    return found


def usual_machine(point: RestorePoint) -> Device | None:
    """Given a restore point, return where the rule of its policy drills it, None for the console's machine.
    Runs one query."""
    rule = DrillRule.objects.filter(policy=point.policy_id).select_related("machine").first()
    return rule.machine if rule is not None else None


def words_of(machine: Device | None) -> dict[str, object]:
    """Return what the request of a run says about its machine."""
    return {} if machine is None else {_WORD: machine.pk}


def machine_of(run: Run) -> Device | None:
    """Given a run, return the device on which it drills, None for the console's machine. Runs one query.

    Raise PlanRefused when that device is gone: nobody chose another one."""
    if _WORD not in run.request:
        return None
    found = Device.objects.filter(pk=run.request[_WORD]).select_related("ssh_key", "jump_host").first()
    if found is None:
        raise PlanRefused("The drill device is gone.", remedy="Choose another one on the policy's page.")
    return found
