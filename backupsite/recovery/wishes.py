"""What a person wants restored where, on its way from a form through a run to the device."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from agents.errors import PlanRefused
from agents.facts.mounts import Mount, find_mount, is_within, mounts_below
from agents.restore import Conflict, Mode, RestoreRequest
from backupsite.engine import console_restic
from backupsite.fleet.models import Device
from backupsite.policies.known import read_known_facts
from backupsite.recovery.folders import decode_folder, decode_path, encode_path, join
from backupsite.recovery.models import RestorePoint
from backupsite.recovery.origins import BEST, Origin, find_origin
from backupsite.recovery.places import place_of
from backupsite.repositories.models import Repository
from backupsite.repositories.nodes import CONSOLE, find_node_of
from backupsite.repositories.presence import why_not_there
from backupsite.runs.models import Run

# Each is a restore point of its own, read back by itself.
MOST_SAVED = 50
LONGEST_SAVED = 4000


@dataclass(frozen=True)
class Wish:
    """All of `folder` of a restore point, or what `names` (relative to it) name, to `target`, None: to its
    original place. `onto` is the device, None: the point's own. `size_bytes` is what is known of its size
    (0: unknown). `origin` is where it is read (`recovery.origins`)."""

    point: RestorePoint
    folder: str
    names: tuple[str, ...]
    target: str | None
    conflict: Conflict
    mode: Mode
    is_whole_system: bool = False
    size_bytes: int = 0
    onto: Device | None = None
    origin: str = BEST

    @property
    def device(self) -> Device:
        """Where it is restored."""
        return self.onto if self.onto is not None else self.point.device

    @property
    def beside(self) -> Device | None:
        """The device beside whose repository it is done; None: beside that of where it goes."""
        return self.point.device if self.onto is not None else None

    @property
    def replaces(self) -> bool:
        """Whether data of the device makes way."""
        return self.mode is not Mode.MERGE or self.conflict is Conflict.REPLACE

    @property
    def paths(self) -> list[str]:
        """What is restored, absolute in the restore point, nothing inside of another.

        To its original place goes only what was backed up: a folder above it holds other things on the
        device, which an exchange of that folder would take away."""
        picked = outermost(join(self.folder, name) for name in self.names) or [self.folder]
        if self.target is not None or self.point.part:
            return picked
        recorded = [decode_path(path) for path in self.point.paths]
        return outermost(
            place
            for path in picked
            for place in [each for each in recorded if each != path and is_within(each, path)] or [path]
        )

    @property
    def places(self) -> list[str]:
        """What changes on the device, absolute."""
        if self.target is None:
            return self.paths
        target = self.target
        return outermost(join(target, name) for name in self.names) or [target]

    def to_json(self) -> dict[str, Any]:
        other: dict[str, Any] = {"of": self.point.device_id} if self.onto is not None else {}
        if self.origin != BEST:
            other["from"] = self.origin
        return {
            **other,
            "point": str(self.point.pk),
            "folder": encode_path(self.folder),
            "names": [encode_path(name) for name in self.names],
            "target": self.target,
            "conflict": self.conflict.value,
            "mode": self.mode.value,
            "is_whole_system": self.is_whole_system,
            "size_bytes": self.size_bytes,
        }

    def find_origin(self) -> Origin:
        """Return where it is read, with a look at the storage. Raise PlanRefused as `find_origin` does."""
        return find_origin([self.point], self.origin)

    def to_request(self, run: Run, origin: Origin) -> RestoreRequest:
        """Return what the device's flow is asked. For workers: it opens the repository's secrets."""
        is_local = run.device.is_local
        names = tuple(join(self.folder, name) for name in self.names)
        original = () if self.paths == [self.folder] else tuple(self.paths)
        return RestoreRequest(
            console_id=settings.CONSOLE_ID,
            run_id=run.id.hex,
            place=place_of(origin.repository),
            binary=console_restic(),
            is_local=is_local,
            restic_id=origin.name_of(self.point.restic_id),
            paths=names if self.target is not None else original,
            base=self.folder,
            target=self.target,
            conflict=self.conflict,
            mode=self.mode,
            is_whole_system=self.is_whole_system,
            moment=self.point.made_at,
            size_bytes=self.size_bytes,
            protected=(str(settings.HOTFLEET_HOME),) if is_local else (),
        )


def read_wish(run: Run) -> Wish:
    """Given a run that restores, or forecasts, what a person picked, return it. Raise PlanRefused when the
    restore point is gone."""
    said, point = run.request, point_of(run)
    return Wish(
        point=point,
        onto=run.device if point.device_id != run.device_id else None,
        folder=decode_folder(said["folder"]),
        names=tuple(decode_path(name) for name in said["names"]),
        target=said["target"],
        conflict=Conflict(said["conflict"]),
        mode=Mode(said["mode"]),
        is_whole_system=said["is_whole_system"],
        size_bytes=int(said["size_bytes"]),
        origin=said.get("from", BEST),
    )


def make_undo(point: RestorePoint, mounts: Sequence[Mount] = ()) -> Wish:
    """Given a safety restore point and the mounts of the device as far as known, return what puts all of it
    back exactly as it was. Where something is mounted no folder can be exchanged: every file of it comes back
    there, and what came with the restore stays."""
    folder = point.top_folder
    is_mounted = any(mount.point == folder for mount in mounts) or bool(mounts_below(folder, mounts))
    return Wish(
        point=point,
        folder=folder,
        names=(),
        target=None,
        conflict=Conflict.REPLACE,
        mode=Mode.MERGE if is_mounted else Mode.EXACT,
        is_whole_system=True,
        size_bytes=point.size_bytes,
    )


def point_of(run: Run) -> RestorePoint:
    """Given a run, return the restore point that its request names, if it is one of the run's device, or of
    the device that the request names. Raise PlanRefused when it is gone."""
    found = RestorePoint.objects.select_related("repository", "repository__storage", "device").filter(
        pk=uuid.UUID(run.request["point"]), device=run.request.get("of", run.device_id)
    )
    point = found.first()
    if point is None:
        raise PlanRefused("The restore point is gone.", remedy="Pick another one.")
    return point


def why_not_saved(wish: Wish) -> str:
    """Given a wish that replaces data, return why what it replaces cannot be backed up first; "" when it
    can. The catalogue names restore points by their path, as text; and the device's repository must be there.
    Runs at most one query."""
    places = wish.places
    if len(places) > MOST_SAVED:
        return f"At most {MOST_SAVED} things can be backed up first: pick the folders that hold them."
    for place in places:
        is_text = all(not "\ud800" <= letter <= "\udfff" for letter in place)
        if not is_text or len(place) > LONGEST_SAVED:
            return (
                "A picked name is no text, or too long, and cannot be backed up by itself: pick its folder."
            )
    repository = Repository.objects.filter(device=wish.device).select_related("storage").first()
    why = why_not_there(repository) if repository is not None and repository.is_made else ""
    return f"Nothing can be backed up first. {why}" if why else ""


def why_not_reached(point: RestorePoint, onto: Device) -> str:
    """Given a restore point and another device, return why nobody brings it there; "" when somebody does. The
    node on which it lies must reach the device. Runs one query more for each node, none for most devices."""
    if not onto.is_local or (node := find_node_of(point.device)) == CONSOLE:
        return ""
    return (
        f"The restore point lies on the node {node}, and only the console reaches its own machine as this "
        "device. Add the machine as a device over SSH too, and restore onto that."
    )


def say_sharing(wish: Wish) -> str:
    """Given a wish, return the file system of a place where removing first makes no room, as far as the
    device is known; "" when it does, or is not wished."""
    facts = read_known_facts(wish.device) if wish.mode is Mode.DIRECT else None
    mounts = [find_mount(place, facts.mounts) for place in wish.places] if facts is not None else []
    return next((mount.kind for mount in mounts if mount.may_share), "")


def outermost(paths: Iterable[str]) -> list[str]:
    """Given absolute paths, return those that lie in no other, sorted. Pure."""
    kept: list[str] = []
    for path in sorted(set(paths), key=lambda each: each.rstrip("/") + "/"):
        if not kept or not (path.rstrip("/") + "/").startswith(kept[-1].rstrip("/") + "/"):
            kept.append(path)
    return kept
