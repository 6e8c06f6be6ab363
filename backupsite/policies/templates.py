"""What a new policy may begin with: sources, schedule and target for common machines. Pure.

A template only fills in the form: the person sees every value, and changes what does not fit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from backupsite.policies.source_form import DEFAULTS

# What can be made again, and changes all the time.
CACHES = "*/.cache\n*/.npm\n*/.cargo/registry\n*/.local/share/Trash"
OF_THE_SYSTEM = "/var/cache/apt\n/var/lib/apt/lists\n/var/tmp/*\n/tmp/*\n/swapfile\n*.swap"


@dataclass(frozen=True)
class Template:
    """`slug` stands in an address, `rows` are sources as their form shows them, `fields` of the policy's
    form."""

    slug: str
    title: str
    text: str
    rows: tuple[dict[str, str], ...]
    fields: dict[str, Any] = field(default_factory=dict)


def _files(path: str, *, excludes: str = "", is_optional: bool = False) -> dict[str, str]:
    return {**DEFAULTS, "path": path, "excludes": excludes, "is_optional": "on" if is_optional else ""}


def _database(kind: str, instance: str) -> dict[str, str]:
    return {**DEFAULTS, "kind": kind, "instance": instance}


TEMPLATES = (
    Template(
        "web-server",
        "Web server",
        "Sites, their configuration and certificates, every hour.",
        (
            _files("/etc"),
            _files("/srv", is_optional=True),
            _files("/var/www", is_optional=True, excludes="*/cache/*"),
            _files("/usr/local", is_optional=True),
        ),
        {"when": "60", "rpo": "3 h"},
    ),
    Template(
        "postgresql-server",
        "PostgreSQL server",
        "The cluster 15/main, hot, every hour, and the machine's configuration.",
        (_database("postgresql", "15/main"), _files("/etc")),
        {"when": "60", "rpo": "3 h"},
    ),
    Template(
        "mariadb-server",
        "MariaDB server",
        "The server whose data lie in /var/lib/mysql, hot, every hour, and the machine's configuration.",
        (_database("mariadb", "/var/lib/mysql"), _files("/etc")),
        {"when": "60", "rpo": "3 h"},
    ),
    Template(
        "whole-system",
        "Whole system",
        "Everything of the machine, each night: it can come back on an empty disk. Databases need sources of "
        "their own beside it.",
        (_files("/", excludes=OF_THE_SYSTEM),),
        {"when": "daily", "at_time": "02:00", "rpo": "26 h"},
    ),
    Template(
        "home-directories",
        "Home directories",
        "What people work on, every four hours, without caches and wastebaskets.",
        (_files("/home", excludes=CACHES), _files("/root", is_optional=True, excludes=CACHES)),
        {"when": "240", "rpo": "10 h"},
    ),
)


def find_template(slug: str) -> Template | None:
    """Given what an address says, return the template, None when there is none of this name."""
    return next((template for template in TEMPLATES if template.slug == slug), None)
