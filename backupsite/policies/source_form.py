"""One source as a row of a form: what it is, hot or cold, and what it stands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from django import forms

from agents.applications import DUMP, SNAPSHOT, STREAM, applications
from backupsite.policies import source_checks as checks
from backupsite.policies.conflicts import leaves_out_all
from backupsite.policies.durations import show_pause
from backupsite.policies.models import Source
from backupsite.policies.paths import check_excludes, check_path

T = TypeVar("T")
FILES, COMMAND, POSTGRESQL = "files", "command", "postgresql"
METHODS = [
    ("", "The best one that works"),
    (SNAPSHOT, "A snapshot of its files"),
    (STREAM, "A stream of its own backup program"),
    (DUMP, "A logical dump"),
]
SHARED_LOG = (
    "A log is followed on one device, wherever its service runs. Choose one: shared, or with its log."
)
# What a row holds before anything is typed.
DEFAULTS = {
    "kind": FILES,
    "path": "",
    "instance": "",
    "command": "",
    "mode": Source.HOT,
    "if_hot_impossible": Source.LIVE,
    "keeps_log": "",
    "services": "",
    "method": "",
    "longest_freeze": "10 s",
    "longest_downtime": "2 min",
    "group": "",
    "excludes": "",
    "is_optional": "",
    "is_shared": "",
    "accepted_problems": "0",
}
FIELDS = tuple(DEFAULTS)


def list_kinds() -> list[tuple[str, str]]:
    """Return what a source may be: files, an application, a command."""
    found = sorted((each.label, name) for name, each in applications().items() if name != COMMAND)
    return [(FILES, "Files"), *((name, label) for label, name in found), (COMMAND, "Output of a command")]


def _area(rows: int) -> forms.Textarea:
    return forms.Textarea(attrs={"rows": rows, "spellcheck": "false"})


class SourceForm(forms.Form):
    """What of it matters follows from `kind` and `mode`; the rest is neither looked at nor stored."""

    MODES = frozenset(mode for mode, _ in Source.MODES)

    kind = forms.ChoiceField(choices=list_kinds, initial=FILES, label="What")
    path = forms.CharField(
        max_length=5000,
        strip=False,
        label="Path",
        error_messages={"required": "Give a path, for example /etc or /srv/www, or remove the row."},
    )
    instance = forms.CharField(
        max_length=5000,
        strip=False,
        label="Which one",
        error_messages={"required": "Say which one, for example 15/main, as the device's page names it."},
        widget=forms.TextInput(attrs={"list": "instances", "autocomplete": "off", "spellcheck": "false"}),
    )
    command = forms.CharField(
        max_length=60_000,
        strip=False,
        label="Command",
        help_text="What it prints is kept. When it fails there is no restore point.",
        error_messages={"required": "Give the command whose output is kept."},
        widget=_area(2),
    )
    mode = forms.ChoiceField(
        choices=Source.MODES, initial=Source.HOT, label="Hot or cold", widget=forms.RadioSelect
    )
    if_hot_impossible = forms.ChoiceField(
        choices=Source.FALLBACKS, initial=Source.LIVE, label="If hot is impossible"
    )
    keeps_log = forms.BooleanField(
        required=False,
        label="Keep its log: any moment",
        help_text="What it writes is followed all the time, so it can come back to any second between two "
        "backups. Costs one connection and about the bytes that it writes, over the network and in the "
        "repository. Needs PostgreSQL 13 or newer and max_slot_wal_keep_size, so that a console that is away "
        "never fills its disk.",
    )
    services = forms.CharField(
        max_length=10_000,
        strip=False,
        error_messages={"required": "Name what stops while these files are copied, one service a line."},
        label="Services that stop meanwhile",
        help_text="One a line, stopped in this order: nginx.service, or container:web.",
        widget=_area(2),
    )
    method = forms.ChoiceField(choices=METHODS, required=False, label="Method")
    longest_freeze = forms.CharField(
        max_length=20,
        initial=DEFAULTS["longest_freeze"],
        label="Longest freeze",
        help_text="Past this the snapshot is dropped and the run fails.",
    )
    longest_downtime = forms.CharField(
        max_length=20,
        initial=DEFAULTS["longest_downtime"],
        label="Longest downtime",
        help_text="Past this it is started again and the run fails.",
    )
    group = forms.CharField(
        max_length=500,
        strip=False,
        required=False,
        label="Held still together with",
        help_text="Sources with the same word here are copied at one moment.",
    )
    excludes = forms.CharField(
        max_length=60_000,
        strip=False,
        required=False,
        label="Leave out",
        widget=_area(2),
        help_text="One pattern a line, for example *.tmp or /srv/www/cache.",
    )

    is_optional = forms.BooleanField(
        required=False,
        label="A device may lack it",
        help_text="Where it is missing that is no failure, and a device stands well without it.",
    )
    is_shared = forms.BooleanField(
        required=False,
        label="Shared by the devices of this policy: a service that moves",
        help_text="It runs on one of them at a time, and what any of them stored counts for all. Who does "
        "not have it leaves it out. Not for what each device has of its own: that would look protected.",
    )
    accepted_problems = forms.IntegerField(
        required=False,
        min_value=0,
        max_value=1_000_000,
        initial=0,
        label="Files that may be unreadable",
        help_text="So many files that cannot be read, or change while they are, are no warning.",
        error_messages=dict.fromkeys(
            ("invalid", "min_value", "max_value"),
            "Write a whole number of files, like 5, or 0; at most a million.",
        ),
    )

    def clean_accepted_problems(self) -> int:
        return int(self.cleaned_data["accepted_problems"] or 0) if self._is(FILES) else 0

    def clean_path(self) -> str:
        return _checked(check_path, self.cleaned_data["path"]) if self._is(FILES) else ""

    def clean_excludes(self) -> str:
        return _checked(check_excludes, self.cleaned_data["excludes"]) if self._is(FILES) else ""

    def clean_services(self) -> str:
        return _checked(checks.check_services, self.cleaned_data["services"]) if self._is(FILES) else ""

    def clean_instance(self) -> str:
        return "" if self._is(FILES) else _checked(checks.check_instance, self.cleaned_data["instance"])

    def clean_command(self) -> str:
        return _checked(checks.check_command, self.cleaned_data["command"]) if self._is(COMMAND) else ""

    def clean_group(self) -> str:
        return _checked(checks.check_group, self.cleaned_data["group"])

    def clean_longest_freeze(self) -> int:
        return _checked(checks.check_freeze, self.cleaned_data["longest_freeze"])

    def clean_longest_downtime(self) -> int:
        return _checked(checks.check_downtime, self.cleaned_data["longest_downtime"])

    def clean(self) -> dict[str, Any]:
        for name in self._pointless():
            self.errors.pop(name, None)
            self.cleaned_data.setdefault(name, "")
        if self._is(COMMAND) and self._is_stopped:
            self.add_error("mode", "A command has nothing that could stop. Take it hot, and let it fail.")
        if self._keeps_log and self.cleaned_data.get("method") == DUMP:
            self.add_error(
                "keeps_log", "A log continues a copy of the files, no dump. Choose another method, or no log."
            )
        if self._keeps_log and self.cleaned_data.get("is_shared"):
            self.add_error("is_shared", SHARED_LOG)
        path, excludes = self.cleaned_data.get("path", ""), self.cleaned_data.get("excludes", "")
        if path and (pattern := leaves_out_all(path, excludes)):
            self.add_error("excludes", f"{pattern} leaves out everything in {path}.")
        return self.cleaned_data

    def _pointless(self) -> list[str]:
        """The fields that nobody sees for what was chosen."""
        if self._is(FILES):
            # Services may stay there for another day; they only must not be missing when something stops.
            is_empty = not self.data.get(self.add_prefix("services"), "").strip()
            spared = ["services"] if is_empty and not self._is_stopped else []
            return ["instance", "command", "method", *spared]
        return [
            "path",
            "services",
            "excludes",
            "accepted_problems",
            *([] if self._is(COMMAND) else ["command"]),
        ]

    @property
    def _is_stopped(self) -> bool:
        mode, fallback = self.cleaned_data.get("mode"), self.cleaned_data.get("if_hot_impossible")
        return mode in (Source.COLD, Source.BOTH) or (mode == Source.HOT and fallback == Source.WAIT)

    @property
    def _keeps_log(self) -> bool:
        """What is only stopped, or no PostgreSQL, has no log that could be followed."""
        is_hot = self.cleaned_data.get("mode") in (Source.HOT, Source.BOTH)
        return bool(self.cleaned_data.get("keeps_log")) and self._is(POSTGRESQL) and is_hot

    def _is(self, kind: str) -> bool:
        return bool(self.cleaned_data.get("kind") == kind)

    @property
    def is_whole(self) -> bool:
        """Whether it names something and nothing of it was refused."""
        data = getattr(self, "cleaned_data", {})
        return not self.errors and bool(data.get("path") or data.get("instance"))

    @property
    def draft(self) -> dict[str, Any]:
        """The fields of the model. Only when `is_whole`."""
        data = self.cleaned_data
        same = (
            "path",
            "instance",
            "command",
            "mode",
            "if_hot_impossible",
            "services",
            "method",
            "group",
            "excludes",
        )
        return {name: data[name] for name in same} | {
            "application": "" if data["kind"] == FILES else data["kind"],
            "keeps_log": self._keeps_log,
            "is_optional": bool(data.get("is_optional")),
            "is_shared": bool(data.get("is_shared")),
            "accepted_problems": data.get("accepted_problems") or 0,
            "longest_freeze_ms": data["longest_freeze"],
            "longest_downtime_s": data["longest_downtime"],
        }


def row_of(source: Source) -> dict[str, str]:
    """Given a stored source, return its row."""
    same = {name: getattr(source, name) for name in FIELDS if hasattr(source, name)}
    return same | {
        "kind": source.application or FILES,
        "keeps_log": "on" if source.keeps_log else "",
        "is_optional": "on" if source.is_optional else "",
        "is_shared": "on" if source.is_shared else "",
        "accepted_problems": str(source.accepted_problems),
        "longest_freeze": show_pause(source.longest_freeze_ms),
        "longest_downtime": show_pause(source.longest_downtime_s * 1000),
    }


def _checked(check: Callable[[str], T], value: str) -> T:
    try:
        return check(value)
    except ValueError as error:
        raise forms.ValidationError(str(error)) from error
