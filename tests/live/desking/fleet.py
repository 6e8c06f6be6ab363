"""Devices, people and policies, as their pages store them."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils import timezone

from agents.ssh.keys import HostKey as FoundKey
from backupsite import vault
from backupsite.accounts.models import User
from backupsite.fleet import devices
from backupsite.fleet.models import Device, HostKey
from backupsite.policies.models import Policy, PolicyDevice
from backupsite.policies.writing import save_policy
from backupsite.recovery.stored import restate
from backupsite.repositories import kit, making
from backupsite.repositories.default_storage import make_default
from backupsite.repositories.models import Storage
from backupsite.repositories.storage import prepare_storage

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


def rename(device: str, name: str) -> None:
    found = Device.objects.get(slug=device)
    devices.change_device(ME, found, name, devices.Reach(Device.SSH, found.address, found.port, found.user))


def retire(device: str) -> None:
    """Take a device out of service, as the button of its settings does."""
    devices.retire_device(ME, Device.objects.get(slug=device), is_retired=True, now=timezone.now())


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


def leave(device: str, port: int) -> None:
    """Let a device be one that is not always on, and away: nothing answers at this port."""
    Device.objects.filter(slug=device).update(is_always_on=False, port=port)
