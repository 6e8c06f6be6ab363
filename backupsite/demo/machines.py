"""Whose machines the demo shows: names, places, roles. Pure, and the same at every call."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

GB = 1024**3
SITES = ("fra1", "ams2", "office")


@dataclass(frozen=True)
class Data:
    """A source of a role: how much of it there is on a machine, how much of that is new in each run, how its
    restore points are made. `freeze_ms` 0: nothing waits."""

    key: str
    size_bytes: int
    files: int
    new_share: float
    method: str = "LVM snapshot"
    consistency: str = "file-system"
    freeze_ms: float = 0

    @property
    def application(self) -> str:
        return "" if self.key.startswith("/") else self.key.partition(":")[0]

    @property
    def instance(self) -> str:
        return self.key.partition(":")[2] if self.application else ""

    @property
    def path(self) -> str:
        return "" if self.application else self.key


@dataclass(frozen=True)
class Role:
    """What many machines have in common, and the policy that covers them. `share` is how many of a hundred
    machines are such ones; `fields` are of the policy's model."""

    tag: str
    policy: str
    share: int
    sites: tuple[str, ...]
    every: timedelta
    rpo: timedelta
    sources: tuple[Data, ...]
    criticality: str = "normal"
    kind: str = "ext4"
    fields: dict[str, Any] = field(default_factory=dict)


ETC = Data("/etc", 14 * 1024**2, 2_300, 0.004)
_HOURLY: dict[str, Any] = {"schedule": "every", "every_minutes": 60}
_FOUR: dict[str, Any] = {"schedule": "every", "every_minutes": 240}
ROLES = (
    Role(
        "web", "Web servers", 34, ("fra1", "ams2"), timedelta(hours=4), timedelta(hours=10),
        (ETC, Data("/var/www", 18 * GB, 210_000, 0.002), Data("/srv", 6 * GB, 40_000, 0.003)), fields=_FOUR,
    ),
    Role(
        "app", "Applications", 22, ("fra1", "ams2"), timedelta(hours=4), timedelta(hours=10),
        (ETC, Data("/opt", 9 * GB, 88_000, 0.001), Data("/srv", 27 * GB, 120_000, 0.004)), fields=_FOUR,
    ),
    Role(
        "postgresql", "PostgreSQL", 12, ("fra1", "ams2"), timedelta(hours=1), timedelta(hours=3),
        (ETC, Data("postgresql:15/main", 160 * GB, 9_800, 0.006, "LVM snapshot", "application", 38)),
        "critical", fields=_HOURLY,
    ),
    Role(
        "mariadb", "MariaDB", 8, ("fra1", "ams2"), timedelta(hours=1), timedelta(hours=3),
        (ETC, Data("mariadb:/var/lib/mysql", 74 * GB, 4_100, 0.008, "LVM snapshot", "application", 120)),
        "high", fields=_HOURLY,
    ),
    Role(
        "mail", "Mail", 4, ("fra1",), timedelta(hours=4), timedelta(hours=10),
        (ETC, Data("/var/mail", 410 * GB, 3_900_000, 0.002, "btrfs snapshot")), "high", "btrfs", _FOUR,
    ),
    Role(
        "files", "File servers", 6, ("office",), timedelta(hours=24), timedelta(hours=26),
        (ETC, Data("/srv/files", 1_900 * GB, 2_600_000, 0.003, "btrfs snapshot")), "normal", "btrfs",
        {"schedule": "daily"},
    ),
    Role(
        "build", "Build machines", 8, ("office", "ams2"), timedelta(hours=24), timedelta(days=3),
        (ETC, Data("/home", 55 * GB, 640_000, 0.01, "live files", "none")), "low",
        fields={"schedule": "daily"},
    ),
    Role(
        "laptop", "Laptops", 6, ("office",), timedelta(hours=24), timedelta(days=7),
        (Data("/home", 120 * GB, 510_000, 0.004, "btrfs snapshot"),), "low", "btrfs", {"schedule": "daily"},
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Machine:
    """One device of the demo. `place` is its number among all of them, from 0 on."""

    place: int
    name: str
    site: str
    role: Role

    @property
    def is_dense(self) -> bool:
        """Whether its backups follow each other closely."""
        return self.role.every <= timedelta(hours=1)

    @property
    def scale(self) -> float:
        """How large its data are, as a multiple of its role's: between a half and twice as much."""
        return 0.5 + (self.place * 37 % 100) / 66


def list_machines(count: int) -> Iterator[Machine]:
    """Given how many, yield that many machines, the roles mixed in their shares."""
    numbers: dict[tuple[str, str], int] = {}
    for place in range(count):
        role = _role_of(place * 61 % 100)
        site = role.sites[place // 3 % len(role.sites)]
        number = numbers[role.tag, site] = numbers.get((role.tag, site), 0) + 1
        yield Machine(place, f"{role.tag}-{site}-{number:02}", site, role)


def _role_of(share: int) -> Role:
    for role in ROLES:
        share -= role.share
        if share < 0:
            return role
    return ROLES[0]
