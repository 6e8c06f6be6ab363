"""Tags of devices: read from what was typed, given to devices. Whoever calls this has policies look again
(`policies.selecting.refresh_devices`)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from django.db import transaction

from backupsite.accounts import audit
from backupsite.fleet.devices import Actor
from backupsite.fleet.models import Device, Tag
from backupsite.fleet.names import clean_name

LONGEST = 40
MOST_OF_A_DEVICE = 20
_SEPARATORS = re.compile(r"[,;\n]")


def parse_tags(text: str) -> tuple[str, ...]:
    """Given "web, hamburg", return the names in their order, each once, whatever its capitals are.

    Raise ValueError with a sentence for the field."""
    found: dict[str, str] = {}
    for part in _SEPARATORS.split(text):
        if part.strip():
            name = clean_name(part.strip(), longest=LONGEST)
            found.setdefault(name.lower(), name)
    if len(found) > MOST_OF_A_DEVICE:
        raise ValueError(f"A device has at most {MOST_OF_A_DEVICE} tags.")
    return tuple(found.values())


def find_tags(names: Iterable[str]) -> list[Tag]:
    """Return the tags of these names; those that are new are made. "Web" is "web" when that is known."""
    return [Tag.objects.filter(name__iexact=name).first() or Tag.objects.create(name=name) for name in names]


@transaction.atomic
def set_tags(actor: Actor, device: Device, names: Collection[str]) -> bool:
    """Give a device exactly these tags. Return False when it has them already. Tags that nothing uses go."""
    before = set(device.tags.values_list("name", flat=True))
    wanted = find_tags(names)
    after = {tag.name for tag in wanted}
    if before == after:
        return False
    device.tags.set(wanted)
    remove_unused()
    _record(actor, device, before, after)
    return True


@transaction.atomic
def change_tags(
    actor: Actor, devices: Iterable[Device], add: Collection[str], remove: Collection[str]
) -> int:
    """Give devices some tags and take others from them; return how many changed."""
    count = 0
    for device in devices:
        names = {tag.name.lower(): tag.name for tag in device.tags.all()}
        kept = [name for key, name in names.items() if key not in {each.lower() for each in remove}]
        count += set_tags(actor, device, [*kept, *(name for name in add if name.lower() not in names)])
    return count


def remove_unused() -> None:
    """Remove the tags that no device has, no policy selects by, and that are no site."""
    Tag.objects.filter(devices=None, policies=None, is_site=False).delete()


def _record(actor: Actor, device: Device, before: set[str], after: set[str]) -> None:
    detail = {"added": sorted(after - before), "removed": sorted(before - after)}
    audit.record(actor.name, "device.tags", str(device), detail, address=actor.address)


@transaction.atomic
def change_tag(actor: Actor, tag: Tag, name: str, *, is_site: bool, most_runs: int | None) -> bool:
    """Rename a tag, or say whether it is a site: devices and policies keep it. Return False when nothing is
    different. Raise ValueError with a sentence for the field when another tag has the name."""
    if Tag.objects.filter(name__iexact=name).exclude(pk=tag.pk).exists():
        raise ValueError("Another tag has this name.")
    before: dict[str, str | int | bool | None] = {
        "name": tag.name,
        "is_site": tag.is_site,
        "most_runs": tag.most_runs,
    }
    after: dict[str, str | int | bool | None] = {
        "name": name,
        "is_site": is_site,
        "most_runs": most_runs if is_site else None,
    }
    if before == after:
        return False
    Tag.objects.filter(pk=tag.pk).update(**after)
    detail: dict[str, str | int | bool | list[str] | list[int] | None] = {
        f"{key}_before": value for key, value in before.items() if value != after[key]
    }
    detail |= {key: value for key, value in after.items() if value != before[key]}
    audit.record(actor.name, "tag.change", str(before["name"]), detail, address=actor.address)
    return True
