"""Finds out that many devices that stand together do not answer, says so once, and lets their runs wait.

A site, what is behind a jump host, what a node backs up (without nodes: the fleet) is *dark* when as many of
its devices as MANY failed to be reached one after the other, and none of it answered in between. While it is
dark the runs of the schedule wait, but for one now and then that tries (`outages.py`); when a device of it is
reached, all go on, in the order of their places: the most exposed first.

The tick looks. What it finds is a row, so that it outlives every process; a device whose run failed before
anybody looked is tried again like any other, and waits with the rest then.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.urls import reverse

from agents.errors import ConnectFailed, ConnectionLost, HostKeyChanged, KeyRefused
from agents.events import Phase
from backupsite.alerts import notices
from backupsite.fleet.models import Device
from backupsite.repositories import nodes
from backupsite.repositories.making import first_node
from backupsite.repositories.models import Node
from backupsite.runs.models import Outage, Run
from backupsite.runs.outages import FLEET, SHORTEST, covers, devices_of, list_open, name_of, say_count
from backupsite.runs.requests import SCHEDULE
from backupsite.runs.states import State

log = logging.getLogger(__name__)

MANY, MANY_OF_FLEET, FEWEST = 5, 10, 3
# What failed longer ago says nothing about now.
RECENT = timedelta(minutes=15)
# A session that was cut is noticed within this: one that works for longer is an answer.
NOTICED = timedelta(minutes=1)
SILENT = (ConnectFailed.code, ConnectionLost.code)
ANSWERED = (KeyRefused.code, HostKeyChanged.code)


@dataclass
class Group:
    """What stands together, and what was heard of it: when each device failed, when the last one answered."""

    scope: str
    site: int | None = None
    jump_host: int | None = None
    node: Node | None = None
    failed_at: dict[int, datetime] = field(default_factory=dict)
    answered_at: datetime | None = None

    def failed_in_a_row(self) -> dict[int, datetime]:
        """Return the devices that failed since the last answer."""
        last = self.answered_at
        return {device: at for device, at in self.failed_at.items() if last is None or at > last}


def look(now: datetime) -> None:
    """End the outages in which somebody answered, and find new ones: the fleet's, or a node's, last, of what
    others do not explain. For the tick."""
    for outage in list_open():
        if outage.site is not None and not outage.site.is_site:
            Outage.objects.filter(pk=outage.pk, ended_at=None).update(ended_at=now)
        elif _answers(now).filter(devices_of([outage]), started_at__gte=outage.since).exists():
            _end(outage, now)
    failed = _list_failed(now)
    if len({run.device_id for run in failed}) < FEWEST:
        return
    for group in _group(failed, now):
        if _is_dark(group):
            _begin(group, now)
    _look_at_fleet(failed, now)


def _list_failed(now: datetime) -> list[Run]:
    """Of machines that are always on: that a laptop does not answer is no news."""
    recent = Run.objects.filter(ended_at__gt=now - RECENT, state=State.FAILED, error_code__in=SILENT)
    reachable = recent.filter(
        kind__in=Run.KINDS_ON_DEVICE, device__is_always_on=True, device__reach=Device.SSH
    )
    return list(reachable.only("device_id", "started_at", "ended_at").order_by("ended_at"))


def _answers(now: datetime) -> QuerySet[Run]:
    """The runs whose device was reached, of those that work or ended not long ago."""
    got_further = ~Q(phase__in=("", Phase.CONNECT)) & ~Q(error_code__in=SILENT)
    is_reached = got_further | Q(state__in=(State.SUCCEEDED, State.WARNINGS)) | Q(error_code__in=ANSWERED)
    is_recent = Q(state=State.RUNNING) | Q(ended_at__gt=now - RECENT)
    return Run.objects.filter(is_recent, is_reached, kind__in=Run.KINDS_ON_DEVICE, device__reach=Device.SSH)


def _group(failed: Iterable[Run], now: datetime) -> list[Group]:
    """Given what failed, return the sites and jump hosts that it is about, with what was heard of them."""
    devices = {run.device_id for run in failed}
    groups: dict[str, Group] = {}
    members: dict[int, list[Group]] = {}
    answers = list(_answers(now).only("device_id", "started_at", "ended_at"))
    known = devices | {run.device_id for run in answers}
    tagged = Device.tags.through.objects.filter(tag__is_site=True, device__in=known)
    for site, device in tagged.values_list("tag_id", "device_id"):
        group = groups.setdefault(f"site-{site}", Group(f"site-{site}", site=site))
        members.setdefault(device, []).append(group)
    behind = Device.objects.filter(pk__in=known, jump_host__isnull=False).values_list("pk", "jump_host_id")
    for device, jump_host in behind:
        group = groups.setdefault(f"jump-{jump_host}", Group(f"jump-{jump_host}", jump_host=jump_host))
        members.setdefault(device, []).append(group)
    for run in failed:
        for group in members.get(run.device_id, []):
            _note_failure(group, run)
    for run in answers:
        for group in members.get(run.device_id, []):
            _note_answer(group, run, now)
    return list(groups.values())


def _note_failure(group: Group, run: Run) -> None:
    if run.ended_at is not None:
        group.failed_at[run.device_id] = run.ended_at


def _note_answer(group: Group, run: Run, now: datetime) -> None:
    """One that still works may be cut off, and nobody has noticed yet."""
    at = run.ended_at or max(run.started_at or now, now - NOTICED)
    group.answered_at = at if group.answered_at is None else max(at, group.answered_at)


def _is_dark(group: Group) -> bool:
    alive = Device.objects.filter(retired_at=None, is_always_on=True, reach=Device.SSH)
    if group.site is not None:
        alive = alive.filter(tags=group.site)
    elif group.jump_host is not None:
        alive = alive.filter(jump_host=group.jump_host)
    elif group.node is not None:
        alive = alive.filter(pk__in=nodes.list_devices_of(group.node).values("pk"))
    most = MANY_OF_FLEET if group.scope == FLEET or group.node is not None else MANY
    return len(group.failed_in_a_row()) >= max(FEWEST, min(most, alive[:most].count()))


def _look_at_fleet(failed: Iterable[Run], now: datetime) -> None:
    """What one line leads to: all of it, or what each node backs up. Not again soon after it was thought so
    and was not: a part of it without a name is dark then."""
    these = Run.objects.filter(pk__in=[run.pk for run in failed])
    explained = set(these.filter(devices_of(list_open())).values_list("pk", flat=True))
    unexplained = [run for run in failed if run.pk not in explained]
    answers = list(_answers(now).only("device_id", "started_at", "ended_at"))
    for group, its_devices in _list_lines():
        if Outage.objects.filter(scope=group.scope, ended_at__gt=now - RECENT).exists():
            continue
        known = None if its_devices is None else set(its_devices.values_list("pk", flat=True))
        for run in unexplained:
            if known is None or run.device_id in known:
                _note_failure(group, run)
        for run in answers:
            if known is None or run.device_id in known:
                _note_answer(group, run, now)
        if _is_dark(group):
            _begin(group, now)


def _list_lines() -> list[tuple[Group, QuerySet[Device] | None]]:
    """Return what the lines of this installation lead to, with its devices; None: all of them."""
    others = nodes.others()
    if not others:
        return [(Group(FLEET), None)]
    each = [first_node(), *others]
    return [(Group(f"node-{node.pk}", node=node), nodes.list_devices_of(node)) for node in each]


def _begin(group: Group, now: datetime) -> None:
    in_a_row = group.failed_in_a_row()
    try:
        with transaction.atomic():
            outage = Outage.objects.create(
                scope=group.scope,
                site_id=group.site,
                jump_host_id=group.jump_host,
                node=group.node,
                since=min(in_a_row.values()),
                device_count=len(in_a_row),
                next_try_at=now + SHORTEST,
            )
            _tell_dark(outage)
    except IntegrityError:
        return  # it lasts already
    log.warning("%s does not answer since %s.", name_of(outage).capitalize(), outage.since)


def _tell_dark(outage: Outage) -> None:
    name = name_of(outage)
    notices.tell(
        "site-dark",
        key=f"outage-{outage.pk}",
        title=f"{name[0].upper()}{name[1:]} does not answer",
        text=f"{say_count(outage)} cannot be reached since {outage.since:%Y-%m-%d %H:%M} UTC: "
        f"{outage.device_count} were tried one after the other, and none answered. Their runs wait, and go "
        "on by themselves when one of them answers.",
        url=reverse("runs"),
    )


def _end(outage: Outage, now: datetime) -> None:
    with transaction.atomic():
        if not Outage.objects.filter(pk=outage.pk, ended_at=None).update(ended_at=now):
            return
        name = name_of(outage)
        notices.tell(
            "site-back",
            key=f"outage-{outage.pk}-over",
            title=f"{name[0].upper()}{name[1:]} answers again",
            text=f"It did not since {outage.since:%Y-%m-%d %H:%M} UTC. The runs that waited go on, those "
            "whose backups are the oldest against their target first.",
            url=reverse("runs"),
        )


def is_waited_for(run: Run) -> bool:
    """Given a run of the schedule that failed, return whether that is because of an outage that lasts."""
    is_silent = run.requested_by == SCHEDULE and run.error_code in SILENT
    return is_silent and bool(covers(run.device_id, list_open()))
