"""Logical volumes of LVM, their pools, and the space of their groups."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from agents.commands import Command, to_text
from agents.errors import ProtocolBroken
from agents.facts.wire import parse_number

_FIELDS = (
    "vg_name",
    "lv_name",
    "lv_attr",
    "lv_size",
    "origin",
    "pool_lv",
    "data_percent",
    "metadata_percent",
    "lv_tags",
    "lv_kernel_major",
    "lv_kernel_minor",
    "vg_free",
    "vg_extent_size",
)
# Hidden volumes (parts of pools and mirrors) are not listed. One table: every row tells its group's space.
VOLUMES = Command.of(
    "lvm", "lvs", "--reportformat", "json", "--units", "b", "--nosuffix", "-o", ",".join(_FIELDS)
)
# lvm(8), "VALID NAMES"; a name that starts with a hyphen would be an option.
_NAME = re.compile(r"[A-Za-z0-9_+.][A-Za-z0-9_+.-]{0,127}")
_ATTRIBUTES = re.compile(r"[A-Za-z-]{9,10}")
_PERCENT = re.compile(r"[0-9]{1,3}(\.[0-9]{1,4})?")
_LIMIT = 20_000


@dataclass(frozen=True, slots=True)
class LogicalVolume:
    """One volume. `attributes` are the letters of lvs(8), `device` its "major:minor" ("" when inactive).

    The two shares tell how full a pool or a snapshot is (0 to 1), None where that means nothing."""

    group: str
    name: str
    attributes: str
    size_bytes: int
    origin: str
    pool: str
    data_share: float | None
    metadata_share: float | None
    tags: tuple[str, ...]
    device: str
    group_free_bytes: int
    extent_bytes: int

    @property
    def full_name(self) -> str:
        return f"{self.group}/{self.name}"

    @property
    def kind(self) -> str:
        return self.attributes[0]

    @property
    def is_thin(self) -> bool:
        return self.kind == "V" and bool(self.pool)

    @property
    def is_active(self) -> bool:
        return self.attributes[4] == "a"


@dataclass(frozen=True, slots=True)
class LvmFacts:
    """Every visible logical volume of a device."""

    volumes: tuple[LogicalVolume, ...]

    def volume_of(self, device: str) -> LogicalVolume | None:
        """Given the "major:minor" of a mount, return the volume that it is, or None."""
        return next((each for each in self.volumes if device and each.device == device), None)

    def volume(self, full_name: str) -> LogicalVolume | None:
        return next((each for each in self.volumes if each.full_name == full_name), None)


def parse_volumes(output: bytes) -> LvmFacts:
    """Given the JSON of `lvs`, return the volumes. Raise ProtocolBroken when it is something else."""
    try:
        report = json.loads(to_text(output))["report"]
        rows = [row for part in report for row in part["lv"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ProtocolBroken("lvs did not print its report", detail=repr(output[:300])) from error
    if len(rows) > _LIMIT:
        raise ProtocolBroken("the list of logical volumes is endless")
    return LvmFacts(tuple(_parse_row(row) for row in rows))


def _parse_row(row: object) -> LogicalVolume:
    if not isinstance(row, dict) or not all(isinstance(row.get(field), str) for field in _FIELDS):
        raise ProtocolBroken("a row of lvs lacks a field", detail=repr(row)[:300])
    texts: dict[str, str] = {field: row[field] for field in _FIELDS}
    for field in ("vg_name", "lv_name", "origin", "pool_lv"):
        # a volume whose origin is hidden shows it in brackets
        bare = texts[field].removeprefix("[").removesuffix("]")
        if not _NAME.fullmatch(bare) and (bare or field in ("vg_name", "lv_name")):
            raise ProtocolBroken("lvs tells a name that LVM does not allow", detail=repr(texts[field][:200]))
        texts[field] = bare
    if not _ATTRIBUTES.fullmatch(texts["lv_attr"]):
        raise ProtocolBroken("lvs tells attributes that nobody knows", detail=repr(texts["lv_attr"][:200]))
    return LogicalVolume(
        group=texts["vg_name"],
        name=texts["lv_name"],
        attributes=texts["lv_attr"],
        size_bytes=parse_number(texts["lv_size"], "the size of a volume"),
        origin=texts["origin"],
        pool=texts["pool_lv"],
        data_share=_parse_share(texts["data_percent"]),
        metadata_share=_parse_share(texts["metadata_percent"]),
        tags=tuple(tag for tag in texts["lv_tags"].split(",") if tag),
        device=_parse_device(texts["lv_kernel_major"], texts["lv_kernel_minor"]),
        group_free_bytes=parse_number(texts["vg_free"], "the free space of a group"),
        extent_bytes=parse_number(texts["vg_extent_size"], "the size of an extent"),
    )


def _parse_share(text: str) -> float | None:
    if not text:
        return None
    if not _PERCENT.fullmatch(text):
        raise ProtocolBroken("lvs tells a share that is no number", detail=repr(text[:200]))
    return float(text) / 100


def _parse_device(major: str, minor: str) -> str:
    """-1 for a volume that is not active."""
    if major in ("-1", ""):
        return ""
    return f"{parse_number(major, 'a device number')}:{parse_number(minor, 'a device number')}"
