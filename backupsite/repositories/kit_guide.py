"""What a person types to restore without Hotfleet: text for paper. Tests run restic's commands out of it.

It holds no secret. `DIRECTORY`, `ID` and `FILE` are what the reader replaces; the list of devices, which
grows, follows it with each directory written out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from agents.commands import quote
from backupsite.repositories.console_backup import FOLDER
from backupsite.repositories.models import ConsoleRepository, Repository, Storage
from backupsite.repositories.nodes import CONSOLE
from backupsite.web.formatting import format_bytes
from backupsite.web.visible import make_visible

PASSWORD_FILE: Final = "recovery-password"  # noqa: S105 (the name of a file)
_OPTIONS: Final = f"--no-lock --password-file {PASSWORD_FILE}"
# The directory of a repository is a UUID; what lies beside it (journals, streamed logs) has an ending.
_UUID: Final = "-".join("?" * length for length in (8, 4, 4, 4, 12))


def write_guide(storages: Iterable[Storage]) -> str:
    """Given the places for backups, return the guide. Pure."""
    places = list(storages)
    own = [each for each in places if not _say_machine(each)]
    lists = "".join(f"       {_list_all(each.path)}\n" for each in places if each.kind == Storage.DIRECTORY)
    return f"""RESTORE WITHOUT HOTFLEET

1. Install restic 0.18 or newer (https://restic.net) on any Linux machine.
2. Make the backups readable there: mount their disk. They lie in
{"".join(f"       {_describe(each)}" + chr(10) for each in places)}\
   with one directory for each device.
3. Put the password into a file. Type this, paste the password, press Enter and then Ctrl-D:
       umask 077; cat > {PASSWORD_FILE}
4. See what there is. Each list names the device, the time and the folders:
{lists}\
5. Restore one restore point. DIRECTORY is the device's, ID stands in the list of step 4:
       restic -r DIRECTORY {_OPTIONS} restore ID --target /srv/restored
   Only one folder of it: write ID:/the/folder instead of ID. What is in one, without restoring it:
       restic -r DIRECTORY {_OPTIONS} ls ID
6. A copy of an application is one file, or several, of the same time. Each is printed by
       restic -r DIRECTORY {_OPTIONS} dump ID /FILE > FILE
   and what is done with it stands below.
7. Delete the file with the password: rm {PASSWORD_FILE}

WHAT AN APPLICATION NEEDS (as its own user, with the version that made the copy or as its documents say)

   PostgreSQL, a data directory (from a snapshot): remove postmaster.pid in it, then
       pg_ctl -D /srv/restored/DATA start
   PostgreSQL, base.tar: the whole cluster, with the log that makes it whole:
       mkdir -m 0700 /srv/data && tar -x -p -f base.tar -C /srv/data && pg_ctl -D /srv/data start
   PostgreSQL, cluster.tar: the same; its data is in “data”, its tablespaces beside it. Keep backup_label:
       mkdir -m 0700 /srv/pg && tar -x -p -f cluster.tar -C /srv/pg && pg_ctl -D /srv/pg/data start
   PostgreSQL, base.tar to a moment, where its log was kept: the list of step 4 has it with the tag wal=NAME.
     Take the NAME that begins before base.tar was made and goes on after it. Unpack it; before the start:
       mkdir /srv/batches /srv/wal
       restic -r DIRECTORY {_OPTIONS} snapshots --tag wal=NAME |
         grep -oE '^[0-9a-f]{{8}} ' > /srv/batches/list
       for i in $(cat /srv/batches/list); do
         restic -r DIRECTORY {_OPTIONS} restore $i --target /srv/batches; done
       find /srv/batches DIRECTORY.wal/*/NAME -name '????????????????????????' -exec cp -t /srv/wal {{}} +
       truncate -s %16M /srv/wal/*
       echo "restore_command = 'cp /srv/wal/%f %p'" >> /srv/data/postgresql.auto.conf
       echo "recovery_target_action = 'promote'" >> /srv/data/postgresql.auto.conf
       echo "recovery_target_timeline = 'current'" >> /srv/data/postgresql.auto.conf
       echo "recovery_target_time = 'YYYY-MM-DD HH:MM:SS+00'" >> /srv/data/postgresql.auto.conf
       touch /srv/data/recovery.signal && chown -R postgres: /srv/data /srv/wal
     Then start it. Without the line of the time it goes as far as the log does: also when the server says
     that recovery ended before the target. DIRECTORY.wal, beside the directory, has the newest log.
   PostgreSQL, globals.sql and a file .dump for each database, into a running empty server:
       psql -d postgres -f globals.sql
       pg_restore --create -d postgres NAME.dump
   MariaDB, a data directory: start the server on it; it makes itself whole as after a power cut.
   MariaDB, backup.xbstream:
       mkdir /srv/mariadb && mbstream -x -C /srv/mariadb < backup.xbstream
       mariadb-backup --prepare --target-dir=/srv/mariadb
     then give it to the server's user and start the server on it. MySQL: xbstream and xtrabackup instead.
   MariaDB, MySQL, all-databases.sql, into a running empty server:
       mariadb < all-databases.sql
   Redis, Valkey, dump.rdb: put it into the server's directory under the name of its dbfilename, start the
     server with appendonly no; then CONFIG SET appendonly yes, wait, and make that its configuration.
   SQLite: the file is the database. Remove FILE-wal, FILE-shm and FILE-journal beside the one it replaces.
   OpenLDAP, config.ldif and a file for each database, into empty directories, slapd stopped:
       slapadd -q -n 0 -F /etc/ldap/slapd.d -l config.ldif
       slapadd -q -n 1 -F /etc/ldap/slapd.d -l FILE       (the number of its database instead of 1)
   etcd, etcd.snapshot, on every member with its own name and addresses:
       etcdctl snapshot restore etcd.snapshot --data-dir /srv/etcd     (etcdutl from 3.5 on)

BRING THE CONSOLE BACK

   Install Hotfleet on another machine, mount a place for backups there, and type
       script/server --recover {quote(own[0].path) if own else "DIRECTORY"}
   It asks for the password. The devices, their policies and the list of all restore points come back.
"""


def _describe(storage: Storage) -> str:
    if storage.kind == Storage.DIRECTORY:
        return f"{storage.path}{_say_machine(storage)}"
    where = [storage.get_kind_display(), storage.endpoint, storage.region, storage.bucket, storage.prefix]
    account = f", account {storage.account}" if storage.account else ""
    known = f"{', '.join(filter(None, where))}{account}"
    return f"{known}. Its secret is not in this kit: the provider gives a new one."


def _say_machine(storage: Storage) -> str:
    """Return on which machine a directory is, "" on the console's: the same path may be on each of them."""
    node = storage.node
    if storage.kind != Storage.DIRECTORY or node.slug == CONSOLE:
        return ""
    return (
        f" on the node {make_visible(node.name)} (machine {make_visible(node.machine) or 'not joined yet'})"
    )


def _list_all(place: str) -> str:
    return f'for d in {quote(place)}/{_UUID}; do echo "$d"; restic -r "$d" {_OPTIONS} snapshots; done'


def write_list() -> str:
    """Return the repositories of each device and of the console, with their commands. Runs two queries."""
    rows = Repository.objects.select_related("device", "copy_of__device", "storage__node")
    lines = ["THE DEVICES", ""]
    for repository in sorted(
        rows, key=lambda each: (each.owner.name.casefold(), each.copy_of_id is not None)
    ):
        kind = "" if repository.copy_of_id is None else ", second copy"
        size = format_bytes(repository.used_bytes) if repository.measured_at else "not measured yet"
        lines += [
            f"{make_visible(repository.owner.name)}{kind}: {size}, "
            f"restic's id {repository.restic_id[:10] or '-'}{_say_machine(repository.storage)}"
        ]
        lines += [f"    {line}" for line in _commands(repository.storage, str(repository.uuid))] + [""]
    for own in ConsoleRepository.objects.exclude(restic_id="").select_related("storage"):
        lines += [f"The console itself: restic's id {own.restic_id[:10]}"]
        lines += [f"    {line}" for line in _commands(own.storage, FOLDER)] + [""]
    return "\n".join(lines)


def _commands(storage: Storage, name: str) -> list[str]:
    if storage.kind != Storage.DIRECTORY:
        return [f"{storage.path.rstrip('/')}/{name}"]
    call = f"restic -r {quote(f'{storage.path}/{name}')} {_OPTIONS}"
    return [f"{call} snapshots", f"{call} restore ID --target /srv/restored"]
