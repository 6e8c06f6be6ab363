"""The way to a device, for workers: the web process cannot open the console's private key."""

from __future__ import annotations

from agents.errors import HostKeyUnknown
from agents.local import LocalSession
from agents.session import Session
from agents.ssh import HostKey as PinnedKey
from agents.ssh import Target, connect
from backupsite import vault
from backupsite.fleet.devices import private_key_owner
from backupsite.fleet.models import Device, HostKey


def open_session(device: Device) -> Session:
    """Given a device, return an open session. Runs two queries, then no more.

    Raise an AgentError that says why it was not reached or not trusted, VaultError when our key is sealed.
    """
    if device.is_local:
        return LocalSession()
    approved = device.host_keys.filter(state=HostKey.APPROVED)
    pinned = [PinnedKey(key.key_type, bytes(key.blob)) for key in approved]
    key = device.ssh_key
    if key is None or not pinned:
        raise HostKeyUnknown(
            "No host key of this device is approved yet.",
            remedy="Open its connection page, fetch the host key, compare the fingerprint, and approve it.",
        )
    private_key = vault.unseal(private_key_owner(key), key.sealed_private_key)
    return connect(target_of(device), private_key=private_key, host_keys=pinned)


def target_of(device: Device) -> Target:
    """Given a device over SSH, return where it is."""
    return Target(device.address, device.port, device.user)
