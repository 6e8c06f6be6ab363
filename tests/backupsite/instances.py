"""Applications as their plug-ins find them, for tests of pages."""

from __future__ import annotations

from agents.facts import Detail, Instance


def make_postgresql(place: str = "/data/pg", *, is_running: bool = True, label: str = "") -> Instance:
    """A cluster that answers as its owner: everything works where its files can be snapshotted."""
    said = {
        "data": place, "owner": "postgres", "psql": "/usr/lib/postgresql/15/bin/psql",
        "pg_dump": "/usr/lib/postgresql/15/bin/pg_dump", "asked_in": "postgres",
        "pg_dumpall": "/usr/lib/postgresql/15/bin/pg_dumpall",
        "pg_basebackup": "/usr/lib/postgresql/15/bin/pg_basebackup", "full_page_writes": "on",
        "may_replicate": "yes", "max_replication_slots": "10", "socket": "/run/postgresql",
        "port": "5432", "is_superuser": "yes", "may_checkpoint": "yes",
        "role": "postgres", "size_bytes": "52000000000", "replication": "yes", "database": "shop",
    }  # fmt: skip
    details = tuple(Detail(name, value) for name, value in said.items())
    name = label or "PostgreSQL 15/main"
    return Instance(
        "postgresql", "15/main", name, "15", (place,), "postgresql@15-main.service", is_running, details
    )


def make_etcd(place: str, *, service: str = "etcd.service") -> Instance:
    """A member without its client: it can be copied hot only where its files can be snapshotted."""
    said = {"name": "default", "client": "", "options": "", "size": "2000000"}
    details = tuple(Detail(name, value) for name, value in said.items())
    problem = "etcdctl is missing on the device: install etcd-client."
    return Instance("etcd", "default", "etcd default", "3.4", (place,), service, True, details, (problem,))
