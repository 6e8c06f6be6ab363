"""restic's JSON lines (its document 075, "JSON output") as frozen dataclasses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from agents.commands import to_text
from agents.errors import ProtocolBroken
from agents.restic.fields import Fields

_LINE_LIMIT = 1024 * 1024


@dataclass(frozen=True, slots=True)
class BackupStatus:
    """How far a backup is. Totals grow until restic's scan ends."""

    files_done: int
    bytes_done: int
    files_total: int
    bytes_total: int
    errors: int
    current_files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BackupSummary:
    """What a backup did. `snapshot_id` is "" when it made no restore point."""

    snapshot_id: str
    files_new: int
    files_changed: int
    files_unmodified: int
    dirs_new: int
    dirs_changed: int
    dirs_unmodified: int
    data_added: int
    data_added_packed: int
    total_files_processed: int
    total_bytes_processed: int
    total_duration_s: float
    began_at: datetime | None
    ended_at: datetime | None
    is_dry_run: bool


@dataclass(frozen=True, slots=True)
class ItemError:
    """A file that restic could not read or write. Bytes of its name that are not UTF-8 are lost (restic's
    JSON shows U+FFFD for them)."""

    item: str
    message: str
    during: str


@dataclass(frozen=True, slots=True)
class RestoreStatus:
    files_restored: int
    bytes_restored: int
    files_skipped: int
    bytes_skipped: int
    files_total: int
    bytes_total: int


@dataclass(frozen=True, slots=True)
class RestoreSummary:
    """What a restore did. Skipped is what existed already and was kept."""

    files_restored: int
    bytes_restored: int
    files_skipped: int
    bytes_skipped: int
    files_total: int
    bytes_total: int


@dataclass(frozen=True, slots=True)
class ExitError:
    """restic's last word when it fails."""

    status: int
    message: str


@dataclass(frozen=True, slots=True)
class Text:
    """A line that is not JSON: restic's warnings on stderr."""

    text: str


Message = BackupStatus | BackupSummary | ItemError | RestoreStatus | RestoreSummary | ExitError | Text


class Decoder:
    """Turns chunks of restic's output into messages. One for each stream of each program."""

    def __init__(self, what: str, *, takes_text: bool = False) -> None:
        """`what`: "backup" or "restore". `takes_text`: lines that are not JSON are kept (stderr) instead of
        being an error (stdout)."""
        self._parse_status, self._parse_summary = _PARSERS[what]
        self._takes_text = takes_text
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Message]:
        """Given the next bytes, return the messages that they complete. Raise ProtocolBroken for garbage."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if max(map(len, [*lines, self._rest])) > _LINE_LIMIT:
            raise ProtocolBroken("restic printed a line of more than 1 MiB")
        for line in lines:
            if line.strip():
                yield from self._parse(line)

    def end(self) -> Iterator[Message]:
        """Return what an unended last line says. Raise ProtocolBroken when it was cut off."""
        line, self._rest = self._rest, b""
        if line.strip():
            yield from self._parse(line)

    def _parse(self, line: bytes) -> Iterator[Message]:
        if self._takes_text and not line.lstrip().startswith(b"{"):
            yield Text(to_text(line.rstrip(b"\r")))
            return
        fields = Fields.parse(line, "message")
        kind = fields.text("message_type")
        if kind == "status":
            yield self._parse_status(fields)
        elif kind == "summary":
            yield self._parse_summary(fields)
        elif kind == "error":
            yield ItemError(
                fields.text("item"), fields.fields("error").text("message"), fields.text("during")
            )
        elif kind == "exit_error":
            yield ExitError(fields.integer("code"), fields.text("message"))
        elif kind != "verbose_status":
            raise ProtocolBroken("restic said something unknown", detail=to_text(line[:500]))


def only_summary(summaries: list[BackupSummary]) -> BackupSummary:
    """Given the summaries that a backup printed, return the one with its restore point.

    Raise ProtocolBroken when there is none, more than one, or none that names a restore point: whatever the
    exit status says, such a run made nothing that can be trusted.
    """
    if len(summaries) != 1:
        raise ProtocolBroken(f"restic printed {len(summaries)} summaries instead of one")
    if not summaries[0].snapshot_id:
        raise ProtocolBroken("restic's summary names no restore point")
    return summaries[0]


def only_restore(summaries: list[RestoreSummary]) -> RestoreSummary:
    """Given the summaries that a restore printed, return the one. Raise ProtocolBroken for none, or more."""
    if len(summaries) != 1:
        raise ProtocolBroken("restic ended without saying what it restored")
    return summaries[0]


def _backup_status(fields: Fields) -> BackupStatus:
    return BackupStatus(
        files_done=fields.integer("files_done"),
        bytes_done=fields.integer("bytes_done"),
        files_total=fields.integer("total_files"),
        bytes_total=fields.integer("total_bytes"),
        errors=fields.integer("error_count"),
        current_files=fields.texts("current_files"),
    )


def parse_backup_summary(fields: Fields) -> BackupSummary:
    """Given a summary (a message, or the part of a restore point's record), return it."""
    return BackupSummary(
        snapshot_id=fields.text("snapshot_id"),
        files_new=fields.integer("files_new"),
        files_changed=fields.integer("files_changed"),
        files_unmodified=fields.integer("files_unmodified"),
        dirs_new=fields.integer("dirs_new"),
        dirs_changed=fields.integer("dirs_changed"),
        dirs_unmodified=fields.integer("dirs_unmodified"),
        data_added=fields.integer("data_added"),
        data_added_packed=fields.integer("data_added_packed"),
        total_files_processed=fields.integer("total_files_processed"),
        total_bytes_processed=fields.integer("total_bytes_processed"),
        total_duration_s=fields.number("total_duration"),
        began_at=fields.moment("backup_start"),
        ended_at=fields.moment("backup_end"),
        is_dry_run=fields.flag("dry_run"),
    )


def _restore_status(fields: Fields) -> RestoreStatus:
    return RestoreStatus(*_restore_counts(fields))


def _restore_summary(fields: Fields) -> RestoreSummary:
    return RestoreSummary(*_restore_counts(fields))


def _restore_counts(fields: Fields) -> tuple[int, int, int, int, int, int]:
    return (
        fields.integer("files_restored"),
        fields.integer("bytes_restored"),
        fields.integer("files_skipped"),
        fields.integer("bytes_skipped"),
        fields.integer("total_files"),
        fields.integer("total_bytes"),
    )


_Parsers = tuple[Callable[[Fields], Message], Callable[[Fields], Message]]
_PARSERS: dict[str, _Parsers] = {
    "backup": (_backup_status, parse_backup_summary),
    "restore": (_restore_status, _restore_summary),
}
