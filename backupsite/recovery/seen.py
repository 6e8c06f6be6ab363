"""Applications as their backups saw them: nothing may be left of one when it comes back."""

from __future__ import annotations

import contextlib
from collections.abc import Collection

from agents.errors import ProtocolBroken
from agents.facts import DeviceFacts, Instance, wire
from backupsite.recovery.models import RestorePoint, SeenInstance
from backupsite.runs.models import Run

# More applications than this on one device have no figures of before.
MOST_SEEN = 50


def keep_instances(points: Collection[RestorePoint], facts: DeviceFacts) -> None:
    """Given the new restore points of a backup and what it saw, keep each application once, at one of its
    points."""
    seen = {instance.key: instance for instance in facts.instances}
    first = {point.source: point for point in reversed(list(points))}
    SeenInstance.objects.bulk_create(
        SeenInstance(point=point, facts=wire.to_json(seen[source]))
        for source, point in first.items()
        if source in seen
    )


def read_usual(run: Run) -> tuple[Instance, ...]:
    """Given a backup that begins, return its applications as the newest backup by the same policy saw them.
    Runs one query."""
    kept = SeenInstance.objects.filter(point__device=run.device_id, point__policy=run.policy_id)
    newest: dict[str, Instance] = {}
    for row in kept.order_by("-point__made_at").values_list("facts", flat=True)[:MOST_SEEN]:
        with contextlib.suppress(ProtocolBroken):  # another version of this program wrote it
            instance = wire.from_json(Instance, row)
            newest.setdefault(instance.key, instance)
    return tuple(newest.values())


def read_instance(points: Collection[RestorePoint], facts: DeviceFacts | None) -> Instance | None:
    """Given the restore points of one application and what is known of the device now, return the instance as
    it was seen best: what runs tells everything, else what the backup saw. Runs one query. None when nobody
    saw it, or nothing can be read of it."""
    application, _, name = next(iter(points)).source.partition(":")
    now = facts.instance(application, name) if facts is not None else None
    if now is not None and now.is_running:
        return now
    return read_seen(points) or now


def read_seen(points: Collection[RestorePoint]) -> Instance | None:
    """Return the application as the backup that made these restore points saw it. Runs one query. None when
    it did not see it, or another version of this program wrote that."""
    kept = SeenInstance.objects.filter(point__in=points).first()
    try:
        return wire.from_json(Instance, kept.facts) if kept is not None else None
    except ProtocolBroken:
        return None
