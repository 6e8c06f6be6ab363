"""The form of a restore: from which moment, and where to."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from django import forms
from django.utils import timezone

from agents.restore import Conflict
from backupsite.fleet.models import Device
from backupsite.policies.naming import name_source
from backupsite.policies.paths import KERNEL_PATHS
from backupsite.recovery.models import RestorePoint
from backupsite.recovery.origin_form import OriginFields
from backupsite.recovery.targets import list_targets
from backupsite.recovery.wishes import why_not_reached
from backupsite.recovery.words import say_drilled
from backupsite.runs.models import Run
from backupsite.web.choices import Choice
from backupsite.web.formatting import format_ago
from backupsite.web.visible import make_visible, shorten_middle

TO_ORIGINAL, TO_FOLDER, TO_DEVICE, TO_DOWNLOAD = "original", "folder", "device", "download"
LONGEST_TARGET_BYTES = 3000
MOST_TARGETS = 100
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
CONFLICTS: list[tuple[str, Any]] = [
    (Conflict.KEEP_BOTH, Choice("Keep both", "the restored copy gets a date in its name")),
    (Conflict.REPLACE, Choice("Replace", "what is there makes way, and is saved first")),
    (Conflict.SKIP, Choice("Skip", "only what is missing comes")),
]


ARCHIVES: list[tuple[str, Any]] = [
    ("zip", Choice("zip", "opens everywhere, without owners")),
    ("tar", Choice("tar", "for Linux and macOS, with owners")),
]


class RestoreForm(OriginFields):
    """`points` are the moments that are offered. With `is_picked` the moment is fixed: entries were picked
    in one restore point, and another one may not have them."""

    point = forms.ChoiceField(label="1. From which moment", widget=forms.RadioSelect)
    to = forms.ChoiceField(
        label="3. Where to",
        widget=forms.RadioSelect,
        error_messages={"invalid_choice": "Choose one of the places that are offered for this moment."},
    )
    onto = forms.CharField(
        label="Name of the other device",
        required=False,
        help_text="Its host key is approved and its newest check was good.",
        widget=forms.TextInput(attrs={"spellcheck": "false", "autocomplete": "off", "list": "targets"}),
    )
    target = forms.CharField(
        label="Folder on the device",
        max_length=LONGEST_TARGET_BYTES,
        strip=False,
        help_text="It is made when it is missing, for root alone. Its parents must belong to root.",
        widget=forms.TextInput(attrs={"spellcheck": "false", "autocomplete": "off"}),
    )
    conflict = forms.ChoiceField(
        label="If something is there already", choices=CONFLICTS, widget=forms.RadioSelect
    )
    archive = forms.ChoiceField(
        label="As one archive",
        choices=ARCHIVES,
        required=False,
        help_text="Links stay links; Windows shows them as small text files. A hard link comes as a file of"
        " its own, a pipe or a device as an empty file.",
        widget=forms.RadioSelect,
    )
    exact = forms.BooleanField(
        label="Exactly as it was",
        required=False,
        help_text="What came since is removed: each thing that is picked is exchanged as a whole.",
    )
    direct = forms.BooleanField(
        label="Remove what is there first",
        required=False,
        help_text="For what does not fit twice, on ext4 and XFS: on btrfs and ZFS, whose snapshots may hold"
        " what is removed, it makes no room. If it is cut off, NOTHING is there until one succeeds.",
    )
    whole_system = forms.BooleanField(
        label="Whole system",
        required=False,
        help_text="Setuid programs, capabilities and devices come back too: only if you trust that moment.",
    )
    safety = forms.BooleanField(label="Back up first, so that this can be undone", required=False)
    typed = forms.CharField(
        label="Name of the device",
        required=False,
        widget=forms.TextInput(attrs={"spellcheck": "false", "autocomplete": "off"}),
    )
    token = forms.UUIDField(widget=forms.HiddenInput)

    def __init__(
        self, *args: Any, points: Sequence[RestorePoint], device: Device, is_picked: bool, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.device = device
        self.targets = list(list_targets(device).values_list("name", flat=True)[:MOST_TARGETS])
        self.points = {str(point.pk): point for point in points}
        choices = [(key, describe_moment(point)) for key, point in self.points.items()]
        # Choices hold objects as labels on purpose: parts/choices.html draws both lines of a Choice.
        moments: Any = self.fields["point"]
        moments.choices = choices
        self.offer_origins(points, self.chosen, str(self.initial.get("origin", "")))
        places: Any = self.fields["to"]
        places.choices = self._list_places()
        self.fields["target"].required = self.data.get("to", TO_FOLDER) in (TO_FOLDER, TO_DEVICE)
        self.fields["conflict"].required = self.data.get("to", TO_FOLDER) != TO_DOWNLOAD
        name = make_visible(self.where.name)
        self.fields["safety"].label = f"Back up {name} first, so that this can be undone"
        if is_picked:
            self.fields["point"].widget = forms.HiddenInput()

    def _list_places(self) -> list[tuple[str, Choice]]:
        name = make_visible(self.device.name)
        places = [
            (TO_FOLDER, Choice("Another folder", f"on {name}")),
            (TO_DOWNLOAD, Choice("Download", "to this computer, a folder as zip or tar")),
        ]
        if self.targets:
            places.insert(1, (TO_DEVICE, Choice("Another device", "one that was checked and is approved")))
        if has_original_place(self.chosen):
            places.insert(0, (TO_ORIGINAL, Choice("Original place", f"where it came from on {name}")))
        return places

    @property
    def chosen(self) -> RestorePoint:
        """The moment that is chosen so far; the first one that is offered while there is none."""
        key = self.data.get("point") if self.is_bound else self.initial.get("point")
        return self.points.get(str(key)) or next(iter(self.points.values()))

    @property
    def place(self) -> str:
        """Where it shall go, as the form stands now."""
        said = self.data.get("to") if self.is_bound else self.initial.get("to")
        known = dict(self._list_places())
        return str(said) if said in known else next(iter(known))

    @cached_property
    def where(self) -> Device:
        """The device that gets it, as the form stands now; its own while no other one is named."""
        if self.place != TO_DEVICE:
            return self.device
        said = self.data.get("onto", "") if self.is_bound else self.initial.get("onto", "")
        return list_targets(self.device).filter(name=str(said)).first() or self.device

    @property
    def replaces(self) -> bool:
        """Whether data would be replaced, as the form stands now."""
        is_exact = any(self.data.get(name) for name in ("exact", "direct"))
        makes_way = is_exact or self.data.get("conflict") == Conflict.REPLACE
        return self.is_bound and self.place != TO_DOWNLOAD and makes_way

    @property
    def folder_or_default(self) -> str:
        """The folder as typed; that which is proposed for the chosen moment while none is typed. When the
        proposal of another moment stands there, nobody typed it."""
        typed = str(self.data.get("target", "")) if self.is_bound else ""
        proposed = {propose_target(point) for point in self.points.values()}
        return propose_target(self.chosen) if not self.is_bound or typed in proposed else typed

    def clean_onto(self) -> str:
        if self.place == TO_DEVICE and self.where == self.device:
            raise forms.ValidationError(
                "Name another device, whose host key is approved and whose newest check was good."
            )
        if self.place == TO_DEVICE and (why_not := why_not_reached(self.chosen, self.where)):
            raise forms.ValidationError(why_not)
        return str(self.cleaned_data["onto"])

    def clean_target(self) -> str:
        if self.place not in (TO_FOLDER, TO_DEVICE):
            return ""
        try:
            return check_target(self.folder_or_default)
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None

    def clean_typed(self) -> str:
        typed = str(self.cleaned_data["typed"])
        if self.replaces and typed != self.where.name:
            raise forms.ValidationError(
                f"Type {make_visible(self.where.name)}, the name of the device whose files are replaced."
            )
        return typed


def has_original_place(point: RestorePoint) -> bool:
    """Return whether what a restore point holds are files of a source of files: an application's data is not
    put below a server that runs, a stream came from no place."""
    return point.source.startswith("/") and not point.part


def describe_moment(point: RestorePoint) -> Choice:
    """Given a restore point, return its choice card."""
    name = shorten_middle(name_source(point.source, point.part), 40)
    words = f"{format_ago(point.made_at, timezone.now())}, {name}"
    words += "" if point.is_complete else ", not complete"
    words += ", saved before a restore" if point.run is not None and point.run.kind == Run.RESTORE else ""
    return Choice(say_moment(point), words + say_drilled(point))


def say_moment(point: RestorePoint) -> str:
    """Given a restore point, return when it was made, in the reader's time zone ("Today 14:02")."""
    local, today = timezone.localtime(point.made_at), timezone.localdate()
    days = (today - local.date()).days
    if days in (0, 1):
        return f"{'Yesterday' if days else 'Today'} {local:%H:%M}"
    year = f" {local:%Y}" if local.year != today.year else ""
    return f"{local.day} {local:%b}{year}, {local:%H:%M}"


def propose_target(point: RestorePoint) -> str:
    """Given a restore point, return a folder that very likely does not exist yet. Pure but for the zone."""
    is_path = point.source.startswith("/")
    said = posixpath.basename(point.source) if is_path else f"{point.source}-{point.part}"
    name = _UNSAFE.sub("_", said).strip("._-") or "all"
    return f"/var/restore/{name[:60]}-{timezone.localtime(point.made_at):%Y-%m-%d-%H%M%S}"


def check_target(text: str) -> str:
    """Given a folder as typed, return it without doubled and trailing slashes.

    Raise ValueError with one sentence when nothing may be restored into it. Pure: the device looks again."""
    path = text.strip(" ")
    if not path.startswith("/"):
        raise ValueError("Give the whole path from the root, for example /var/restore/www.")
    if not path.isprintable():
        raise ValueError("The path holds a character that cannot be seen.")
    if ".." in path.split("/"):
        raise ValueError("Leave out “..”: give the folder where the files shall really go.")
    path = posixpath.normpath("/" + path.lstrip("/"))
    if path == "/":
        raise ValueError("A restore into / itself is not done. Give a folder, for example /var/restore/www.")
    if len(path.encode()) > LONGEST_TARGET_BYTES or any(len(part.encode()) > 255 for part in path.split("/")):
        raise ValueError("The path, or a name in it, is longer than a file system takes.")
    for kernel in KERNEL_PATHS:
        if path == kernel or path.startswith(f"{kernel}/"):
            raise ValueError(
                f"{kernel} is made anew at each start of the device: files would not stay there."
            )
    return path
