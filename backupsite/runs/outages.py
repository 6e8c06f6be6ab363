"""Sites, jump hosts, nodes and fleets that do not answer: which devices they are, who tries them next."""

from __future__ import annotations

from collections.abc import Collection, Container, Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Q, QuerySet

from backupsite.fleet.models import Device
from backupsite.repositories import nodes
from backupsite.runs.models import Outage, Run
from backupsite.runs.requests import SCHEDULE
from backupsite.web.formatting import format_count

# The longer it lasts, the rarer it is tried: every sixth of the time that it lasts, within these.
SHORTEST, LONGEST, PART = timedelta(minutes=1), timedelta(minutes=5), 6
# A try waits for an answer for 15 to 30 s. All tries together take half of what one worker does, or less.
TRY_EVERY = timedelta(minutes=1)
FLEET = "fleet"


def list_open() -> list[Outage]:
    """Return the outages that last, those that waited longest for a try first. Runs one query."""
    lasting = Outage.objects.filter(ended_at=None).select_related("site", "jump_host", "node")
    return list(lasting.order_by("next_try_at", "pk"))


def devices_of(outages: Sequence[Outage]) -> Q:
    """Return which rows with a `device` are of one of these outages; of none of them for none. Never the
    console's own machine, to which no line leads."""
    over_ssh = Q(device__reach=Device.SSH)
    if any(outage.scope == FLEET for outage in outages):
        return over_ssh
    sites = [outage.site_id for outage in outages if outage.site_id is not None]
    jump_hosts = [outage.jump_host_id for outage in outages if outage.jump_host_id is not None]
    tagged = Device.tags.through.objects.filter(tag__in=sites).values("device_id")
    behind = Device.objects.filter(jump_host__in=jump_hosts).values("pk")
    found = Q(device__in=tagged) | Q(device__in=behind)
    for outage in outages:
        if outage.node is not None:
            found |= Q(device__in=nodes.list_devices_of(outage.node).values("pk"))
    return over_ssh & found


def covers(device_id: int, outages: Sequence[Outage]) -> list[Outage]:
    """Given a device and outages, return those that it is part of. Runs two queries, none for none; two more
    for each node among them."""
    if not outages:
        return []
    device = Device.objects.get(pk=device_id)
    sites = set(Device.tags.through.objects.filter(device=device_id).values_list("tag_id", flat=True))
    by_node = read_by_node([device_id], outages)
    return [outage for outage in outages if is_part(device, sites, by_node, outage)]


def read_by_node(devices: Collection[int], outages: Sequence[Outage]) -> set[tuple[int, int]]:
    """Return which of these devices are of the nodes that have an outage, as pairs of an outage and a device.
    Runs two queries for each such node."""
    return {
        (outage.pk, device)
        for outage in outages
        if outage.node is not None
        for device in nodes.list_devices_of(outage.node).filter(pk__in=devices).values_list("pk", flat=True)
    }


def is_part(
    device: Device, tags: Container[int | None], by_node: Container[tuple[int, int]], outage: Outage
) -> bool:
    """Given a device, its tags, and what `read_by_node` says of it, return whether it is part of an outage:
    what `devices_of` asks the database."""
    if device.is_local:
        return False
    is_behind = outage.jump_host_id is not None and outage.jump_host_id == device.jump_host_id
    is_there = outage.site_id is not None and outage.site_id in tags
    return outage.scope == FLEET or is_behind or is_there or (outage.pk, device.pk) in by_node


def held_by(outages: Sequence[Outage]) -> Q:
    """Return which runs wait while these last: what the schedule wants of their devices. What a person asks
    for tries without being asked, and so does what works on a repository alone."""
    return devices_of(outages) & Q(kind__in=Run.KINDS_ON_DEVICE, requested_by=SCHEDULE)


def find_try(ready: QuerySet[Run], outages: Sequence[Outage], now: datetime) -> Run | None:
    """Given the runs that may work but for their outages, return the one that tries whether one of these is
    over; None when it is not time for a try, or there is nobody to try with."""
    tried = [outage.tried_at for outage in outages if outage.tried_at is not None]
    if tried and now < max(tried) + TRY_EVERY / max(1, settings.HOTFLEET_WORKERS["bulk"]):
        return None
    held = [outage for outage in outages if outage.next_try_at > now]
    allowed = ready.exclude(devices_of(held)) if held else ready
    for outage in outages:
        if outage.next_try_at > now:
            continue
        # Of many anybody, not the worst: a part that is dark and has no name would be tried for ever.
        is_wide = outage.scope == FLEET or outage.node_id is not None
        order = ("pk",) if is_wide else ("place", "number")
        run = allowed.filter(held_by([outage])).order_by(*order).first()
        if run is not None:
            return run
    return None


def note_try(run: Run, outages: Sequence[Outage], now: datetime) -> None:
    """Write down that this run tries the outages that its device is part of."""
    for outage in covers(run.device_id, outages):
        pause = min(LONGEST, max(SHORTEST, (now - outage.since) / PART))
        Outage.objects.filter(pk=outage.pk).update(tried_at=now, next_try_at=now + pause)


def name_of(outage: Outage) -> str:
    """Return what does not answer, in words for the middle of a sentence."""
    if outage.site is not None:
        return f"site {outage.site.name}"
    if outage.node is not None:
        is_console = outage.node.slug == nodes.CONSOLE
        return f"what {'the console itself' if is_console else f'the node {outage.node.name}'} backs up"
    return "the fleet" if outage.jump_host is None else f"what is behind {outage.jump_host}"


def say_count(outage: Outage) -> str:
    """Return how many devices wait, in words."""
    count = Device.objects.filter(retired_at=None).filter(_of_device(outage)).count()
    return f"{format_count(count)} device{'s' if count != 1 else ''}"


def _of_device(outage: Outage) -> Q:
    if outage.site_id is not None:
        return Q(tags=outage.site_id)
    if outage.node is not None:
        return Q(pk__in=nodes.list_devices_of(outage.node).values("pk"))
    return Q() if outage.jump_host_id is None else Q(jump_host=outage.jump_host_id)
