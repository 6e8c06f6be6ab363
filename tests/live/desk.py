"""A process beside a running console that does what a person does on its pages: one JSON line, one answer.

It shares the console's home (HOTFLEET_HOME) and calls the functions that the pages call.
"""

from __future__ import annotations

import base64
import json
import re
import sys
import traceback
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import django
from django.conf import settings

django.setup()

from django.utils import timezone  # noqa: E402 (the models need django.setup first)

from agents.browse import Archive  # noqa: E402
from agents.commands import Secret  # noqa: E402
from agents.gateway.objects_account import Account, ObjectKind  # noqa: E402
from agents.restore import Conflict, Mode  # noqa: E402
from agents.ssh.keys import HostKey as FoundKey  # noqa: E402
from backupsite import vault  # noqa: E402
from backupsite.accounts.models import User  # noqa: E402
from backupsite.fleet import devices  # noqa: E402
from backupsite.fleet.models import Device, HostKey  # noqa: E402
from backupsite.policies import pausing  # noqa: E402
from backupsite.policies.models import BlockedHours, Policy, PolicyDevice  # noqa: E402
from backupsite.policies.writing import save_policy  # noqa: E402
from backupsite.recovery import drill_due, retiring  # noqa: E402
from backupsite.recovery.adoptions import ask_adoption  # noqa: E402
from backupsite.recovery.browsing import ask_listing, find_listing, read_page  # noqa: E402
from backupsite.recovery.comebacks import ask_comeback  # noqa: E402
from backupsite.recovery.copies import ask_copy  # noqa: E402
from backupsite.recovery.downloads import ask_download, file_of  # noqa: E402
from backupsite.recovery.drill_machines import usual_machine  # noqa: E402
from backupsite.recovery.drill_models import DrillQuestion, DrillRule  # noqa: E402
from backupsite.recovery.drills import ask_drill  # noqa: E402
from backupsite.recovery.index import catching_up, files  # noqa: E402
from backupsite.recovery.index.reading import under  # noqa: E402
from backupsite.recovery.models import Download, RestorePoint  # noqa: E402
from backupsite.recovery.pruning import ask_prune  # noqa: E402
from backupsite.recovery.restores import ask_restore, ask_undo  # noqa: E402
from backupsite.recovery.stored import restate  # noqa: E402
from backupsite.recovery.wal.storing import ask_to_store  # noqa: E402
from backupsite.recovery.wal_models import WalStream  # noqa: E402
from backupsite.recovery.wishes import Wish  # noqa: E402
from backupsite.repositories import kit, making  # noqa: E402
from backupsite.repositories.adopting import check_candidate  # noqa: E402
from backupsite.repositories.default_storage import make_default  # noqa: E402
from backupsite.repositories.models import ConsoleRepository, Repository, Storage  # noqa: E402
from backupsite.repositories.objects import prepare_objects, seal_secret, url_of  # noqa: E402
from backupsite.repositories.storage import prepare_storage  # noqa: E402
from backupsite.runs import requests  # noqa: E402
from backupsite.runs.models import Run  # noqa: E402

ME = devices.Actor("ada")


def set_up() -> dict[str, str]:
    """Confirm the recovery kit. Return the secrets that a test looks for, and the console's name."""
    text = kit.make_kit().text
    found = re.search(r"^    ([A-Z2-7]{5}(?:-[A-Z2-7]{5}){7})$", text, re.MULTILINE)
    if found is None or not kit.confirm_kit(found[1][-kit.ENDING_LENGTH :]):
        raise ValueError("the recovery kit could not be confirmed")
    key = devices.console_ssh_key()
    private_key = vault.unseal(devices.private_key_owner(key), key.sealed_private_key)
    return {
        "console_id": settings.CONSOLE_ID,
        "recovery_password": found[1],
        "private_key": private_key.reveal(),
        "public_line": key.public_line,
    }


def add_person(name: str, password: str) -> None:
    """Add an administrator, who signs in with a browser."""
    User.objects.create_user(name, password, is_superuser=True)


def add_device(name: str, address: str, port: int, user: str, storage: str) -> dict[str, Any]:
    """Add a device whose repository lies in a storage of its own."""
    tested = prepare_storage(storage, Path(settings.HOTFLEET_HOME))
    node, path = making.first_node(), str(tested.path)
    make_default(ME.name, Storage.objects.create(node=node, name=name, path=path, marker=tested.marker))
    device = devices.create_device(ME, name, devices.Reach(Device.SSH, address, port, user))
    opened = making.open_repository(making.ensure_repository(device))
    return {"slug": device.slug, "repository": str(opened.path), "password": opened.password.reveal()}


def note_keys(device: str, keys: list[list[str]]) -> None:
    """Note host keys as a scan does."""
    found = [FoundKey(key_type, base64.b64decode(blob)) for key_type, blob in keys]
    devices.note_host_keys(Device.objects.get(slug=device), found)


def approve_keys(device: str) -> list[str]:
    """Approve the host keys that wait; return their fingerprints."""
    waiting = HostKey.objects.filter(device__slug=device, state=HostKey.PENDING)
    return [key.fingerprint for key in waiting if devices.approve_host_key(ME, key)]


def ask_second_copy(device: str, storage: str) -> int:
    """Have the restore points of a device copied into another storage, as its policy and the tick do. Return
    the run's number."""
    tested = prepare_storage(storage, Path(settings.HOTFLEET_HOME))
    second = Storage.objects.create(
        node=making.first_node(), name=f"second of {device}", path=str(tested.path), marker=tested.marker
    )
    Policy.objects.filter(assignments__device__slug=device).update(copy_storage=second)
    return ask_copy(Repository.objects.get(device__slug=device), requested_by=ME.name).number


def keep_in_objects(device: str, endpoint: str, bucket: str, account: str, secret: str) -> None:
    """Let the repository of a device, which was not made yet, lie in an object store; as its page adds it."""
    found = prepare_objects(Account(ObjectKind.S3, bucket, Secret(secret), account, endpoint))
    storage = Storage.objects.create(
        kind=Storage.S3, node=making.first_node(), name=f"far from {device}", path=url_of(found.account),
        marker=found.marker, endpoint=endpoint, bucket=bucket, account=account,
        sealed_secret=seal_secret(found), reading_costs=True,
    )  # fmt: skip
    Repository.objects.filter(device__slug=device, restic_id="").update(storage=storage)


def rename(device: str, name: str) -> None:
    found = Device.objects.get(slug=device)
    devices.change_device(ME, found, name, devices.Reach(Device.SSH, found.address, found.port, found.user))


def retire(device: str) -> None:
    """Take a device out of service, as the button of its settings does."""
    devices.retire_device(ME, Device.objects.get(slug=device), is_retired=True, now=timezone.now())


def let_go_but_the_newest(device: str) -> int:
    """Have the rules keep the newest restore point alone, let the rest of the others be over, and ask for
    their removal as the tick does. Return the run's number."""
    found, never = Device.objects.get(slug=device), timedelta(0)
    names = ("hourly", "daily", "weekly", "monthly", "yearly")
    rules = {f"keep_{name}": 0 for name in names} | {"keep_last": 1, "keep_min": never}
    Policy.objects.filter(assignments__device=found).update(**rules)
    retiring.retire(found, timezone.now())
    RestorePoint.objects.filter(device=found, resting_since__isnull=False).update(rests_until=timezone.now())
    return ask_prune(Repository.objects.get(device=found), requested_by=ME.name).number


def store_log(device: str) -> int:
    """Have what a spool holds of a log stored, as the tick does later. Return the run's number."""
    run = ask_to_store(WalStream.objects.get(device__slug=device))
    if run is None:
        raise ValueError("one has failed just now")
    return run.number


def copy_console() -> None:
    """Have the console copied into its storages, as the button of its page does."""
    ConsoleRepository.objects.update(next_at=timezone.now(), mark="")


def ask_to_adopt(device: str, name: str, password: str) -> int:
    """Have a device adopt a repository beside its own place, as the page does. Return the run's number."""
    found = Device.objects.get(slug=device)
    storage = Storage.objects.get(repositories__device=found)
    check_candidate(storage, name, Secret(password))
    return ask_adoption(found, storage, name, Secret(password), requested_by=ME.name).number


def take_sheet() -> str:
    """Take the sheet beside the recovery kit, as its page does."""
    return kit.hand_out_sheet()


def confirm_recovery() -> int:
    """Say that the old console is off, as the button on the first page does."""
    return pausing.end_pauses(ME, None, now=timezone.now())


def change_user(device: str, user: str) -> None:
    found = Device.objects.get(slug=device)
    devices.change_device(ME, found, found.name, devices.Reach(Device.SSH, found.address, found.port, user))


def set_policy(device: str, paths: list[str], schedule: str, fallback: str) -> str:
    """Protect these paths of a device by a policy of its own, new or changed. Return its slug."""
    found = Device.objects.get(slug=device)
    policy = Policy.objects.filter(assignments__device=found).first()
    fields = {"name": f"Policy of {device}", "schedule": schedule, "every_minutes": 60}
    sources = [{"path": path, "excludes": "", "if_hot_impossible": fallback} for path in paths]
    return save_policy(ME, policy, fields, [found], sources, timezone.now()).slug


def set_sources(device: str, sources: list[dict[str, Any]], fields: dict[str, Any]) -> str:
    """Protect these sources of a device by a policy of its own, new or changed. Return its slug."""
    found = Device.objects.get(slug=device)
    policy = Policy.objects.filter(assignments__device=found).first()
    return save_policy(
        ME, policy, {"name": f"Policy of {device}", **fields}, [found], sources, timezone.now()
    ).slug


def share(device: str, other: str) -> None:
    """Have another device join the policy of a device, whose sources they share."""
    joining = Device.objects.get(slug=other)
    policy = Policy.objects.get(assignments__device__slug=device)
    Policy.objects.filter(assignments__device=joining).delete()
    PolicyDevice.objects.create(policy=policy, device=joining)
    policy.sources.update(is_shared=True)
    restate([joining.pk])


def ask(kind: str, device: str) -> int:
    """Ask for a run as the buttons of the device page do. Return its number."""
    found = Device.objects.get(slug=device)
    policy = Policy.objects.get(assignments__device=found) if kind == Run.BACKUP else None
    return requests.request_run(kind, found, policy=policy, request={}, requested_by=ME.name).number


def ask_to_drill(point: str) -> int:
    """Ask for a drill as the button of a restore point does. Return its run's number."""
    found = RestorePoint.objects.get(pk=point)
    return ask_drill(found, usual_machine(found), requested_by=ME.name).number


def ask_in_drills(device: str, text: str, value: str, database: str = "") -> None:
    """Have the drills of a device's only source ask for more than a value."""
    policy = Policy.objects.get(assignments__device__slug=device)
    source = policy.sources.get()
    DrillQuestion.objects.create(
        policy=policy, source=source.key, text=text, comparison=">", value=value, database=database
    )


def drill_on(device: str, machine: str) -> None:
    """Have the restore points of a device drilled on another one, as the page of its policy's rule does."""
    policy = Policy.objects.get(assignments__device__slug=device)
    DrillRule.objects.create(policy=policy, machine=Device.objects.get(slug=machine))


def sample_every_point(device: str) -> None:
    """Have each restore point of a device sampled, as the page of its policy's rule and the tick do."""
    policy = Policy.objects.get(assignments__device__slug=device)
    DrillRule.objects.create(policy=policy, is_sampled=True)
    drill_due.plan(timezone.now())


def drill_every_point(device: str) -> None:
    """Have each restore point of a device drilled, as the page of its policy's rule and the tick do."""
    policy = Policy.objects.get(assignments__device__slug=device)
    DrillRule.objects.create(policy=policy, rhythm=DrillRule.EVERY)
    drill_due.plan(timezone.now())


def ask_folder(point: str, folder: str) -> int:
    return ask_listing(RestorePoint.objects.get(pk=point), folder, requested_by=ME.name).number


def read_folder(point: str, folder: str) -> list[str]:
    listing = find_listing(RestorePoint.objects.get(pk=point), folder)
    if listing is None:
        raise ValueError("nobody has read this folder")
    return [entry.name for entry in read_page(listing, 1)]


def list_paths(point: str) -> list[str] | None:
    """Every path of a restore point as the index says it; None while it is not in it."""
    found = under(RestorePoint.objects.select_related("device").get(pk=point), ["/"])
    return [entry.path for entry in found] if found is not None else None


def lose_index(device: str) -> None:
    """Lose the device's index, and have the tick notice."""
    found = Device.objects.get(slug=device)
    files.remove(files.file_of(found))
    catching_up.look(datetime.fromtimestamp(found.pk % catching_up.SLOTS * catching_up.SLOT_S, UTC))


def ask_files(point: str, folder: str, target: str, origin: str = "") -> int:
    found = RestorePoint.objects.get(pk=point)
    size = found.size_bytes
    wish = Wish(found, folder, (), target, Conflict.SKIP, Mode.MERGE, size_bytes=size, origin=origin)
    return ask_restore(wish, has_safety=False, token=str(uuid.uuid4()), requested_by=ME.name).number


def ask_replacement(point: str, names: list[str], mode: str) -> int:
    """Ask for these entries of a restore point in their original place, with a safety restore point."""
    found = RestorePoint.objects.get(pk=point)
    wish = Wish(found, found.top_folder, tuple(names), None, Conflict.REPLACE, Mode(mode))
    return ask_restore(wish, has_safety=True, token=str(uuid.uuid4()), requested_by=ME.name).number


def ask_elsewhere(point: str, device: str, target: str, replaces: bool = False) -> int:
    """Ask for a whole restore point in a folder of another device; what it replaces is saved first."""
    found, other = RestorePoint.objects.get(pk=point), Device.objects.get(slug=device)
    conflict = Conflict.REPLACE if replaces else Conflict.SKIP
    wish = Wish(found, found.top_folder, (), target, conflict, Mode.MERGE, onto=other)
    return ask_restore(wish, has_safety=replaces, token=str(uuid.uuid4()), requested_by=ME.name).number


def ask_to_undo(number: int) -> int:
    return ask_undo(Run.objects.get(number=number), token=str(uuid.uuid4()), requested_by=ME.name).number


def ask_to_come_back(point: str, wish: dict[str, Any]) -> int:
    """Ask for an application as its page does."""
    found = RestorePoint.objects.get(pk=point)
    return ask_comeback(found, wish, token=str(uuid.uuid4()), requested_by=ME.name).number


def ask_file(point: str, path: str, archive: Archive, name: str = ME.name) -> list[Any]:
    """Ask for a download. Return its id and its run's number."""
    download = ask_download(RestorePoint.objects.get(pk=point), [path], archive=archive, requested_by=name)
    if download.run is None:
        raise ValueError("the download has no run")
    return [str(download.pk), download.run.number]


def file_path(download: str) -> str:
    found = Download.objects.get(pk=download, is_ready=True)
    return str(file_of(found))


def cancel(number: int) -> bool:
    return requests.cancel_run(Run.objects.get(number=number), by=ME.name)


def make_due(device: str) -> None:
    """Let the scheduled time of a device be a minute ago."""
    PolicyDevice.objects.filter(device__slug=device).update(next_due=timezone.now() - timedelta(minutes=1))


def make_both_due(device: str) -> None:
    """Let the scheduled time and the cold window of a device both be a minute ago."""
    past = timezone.now() - timedelta(minutes=1)
    PolicyDevice.objects.filter(device__slug=device).update(next_due=past, next_cold_due=past)


def block_hours(device: str, after_s: int, lasts_s: int) -> None:
    """Block hours of a device's policy that begin so many seconds from now, whatever it has to do then."""
    policy = Policy.objects.get(assignments__device__slug=device)
    begins = timezone.now() + timedelta(seconds=after_s)
    ends = begins + timedelta(seconds=lasts_s)
    BlockedHours.objects.create(policy=policy, begins=begins.time(), ends=ends.time())


def leave(device: str, port: int) -> None:
    """Let a device be one that is not always on, and away: nothing answers at this port."""
    Device.objects.filter(slug=device).update(is_always_on=False, port=port)


def grow_old(device: str) -> None:
    """Let the newest good backup of a device be a month old."""
    PolicyDevice.objects.filter(device__slug=device).update(succeeded_at=timezone.now() - timedelta(days=30))


def hurry(number: int) -> None:
    """Let the time of a waiting run have come."""
    Run.objects.filter(number=number).update(not_before=timezone.now())


COMMANDS: dict[str, Callable[..., Any]] = {
    each.__name__: each
    for each in (
        set_up,
        add_person,
        add_device,
        note_keys,
        approve_keys,
        ask_second_copy,
        keep_in_objects,
        rename,
        store_log,
        retire,
        let_go_but_the_newest,
        copy_console,
        ask_to_adopt,
        take_sheet,
        confirm_recovery,
        change_user,
        set_policy,
        set_sources,
        share,
        ask,
        ask_to_drill,
        ask_in_drills,
        drill_every_point,
        drill_on,
        sample_every_point,
        ask_folder,
        read_folder,
        list_paths,
        lose_index,
        ask_files,
        ask_replacement,
        ask_elsewhere,
        ask_to_undo,
        ask_to_come_back,
        ask_file,
        file_path,
        cancel,
        make_due,
        make_both_due,
        block_hours,
        leave,
        grow_old,
        hurry,
    )
}


def main() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        try:
            answer = {"answer": COMMANDS[order.pop("do")](**order)}
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
