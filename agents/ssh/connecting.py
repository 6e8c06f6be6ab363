"""The way to a session: reach the device, look at its host key, show ours, see what we may do."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence

import paramiko
from paramiko.ssh_exception import IncompatiblePeer

from agents.commands import Secret
from agents.errors import ConnectFailed, HostKeyChanged, HostKeyUnknown, KeyRefused
from agents.ssh.keys import FAMILIES, HostKey, authorized_keys_line
from agents.ssh.link import Link
from agents.ssh.session import SshSession
from agents.ssh.target import Target
from agents.ssh.transport import DeviceTransport, nothing_in_common, open_transport


def connect(
    target: Target, *, private_key: Secret, host_keys: Sequence[HostKey], timeout_s: float = 15
) -> SshSession:
    """Given a target, our key and the approved host keys, return an open session.

    Our key is only used after the device proved to have an approved one. Raise HostKeyUnknown when nothing is
    approved yet, HostKeyChanged, KeyRefused, PrivilegeMissing, PlatformRefused, ConnectFailed, or
    ConnectionLost. `timeout_s` bounds the way up to the login, and again each question that follows it.
    """
    key = _read_private_key(private_key)
    if not host_keys:
        raise HostKeyUnknown(
            f"No host key of {target.place} is approved yet.",
            remedy="Fetch the host key, compare its fingerprint on the device, and approve it.",
        )
    transport = _pinned_transport(target, host_keys, time.monotonic() + timeout_s)
    try:
        _authenticate(target, transport, key)
        link = Link(target, transport)
    except BaseException:
        transport.close()
        raise
    try:
        return SshSession(link, timeout_s=timeout_s)
    except BaseException:
        link.close()
        raise


def fetch_host_keys(target: Target, timeout_s: float = 15) -> list[HostKey]:
    """Given a target, return the host keys that it shows, best first, without authenticating.

    One connection for each kind of key. Raise ConnectFailed, or PlatformRefused when it has none that we
    accept."""
    deadline = time.monotonic() + timeout_s
    found: list[HostKey] = []
    refusal: Exception = paramiko.SSHException("no kind of host key was tried")
    for family in FAMILIES:
        try:
            transport = open_transport(target, family, deadline)
        except IncompatiblePeer as failure:
            refusal = failure
            continue
        found.append(transport.remote_host_key())
        transport.close()
    if not found:
        raise nothing_in_common(target, refusal)
    return found


def _read_private_key(private_key: Secret) -> paramiko.Ed25519Key:
    try:
        return paramiko.Ed25519Key.from_private_key(io.StringIO(private_key.reveal()))
    except (paramiko.SSHException, ValueError) as failure:
        raise ValueError("the console's private key is not an ed25519 key in OpenSSH's format") from failure


def _pinned_transport(target: Target, host_keys: Sequence[HostKey], deadline: float) -> DeviceTransport:
    try:
        transport = open_transport(target, [key.key_type for key in host_keys], deadline)
    except IncompatiblePeer as failure:
        left_s = max(1.0, deadline - time.monotonic())
        shown = fetch_host_keys(target, left_s)
        if {key.key_type for key in shown} & {key.key_type for key in host_keys}:
            raise nothing_in_common(target, failure) from failure
        raise _changed(target, shown, host_keys) from failure
    shown_key = transport.remote_host_key()
    if shown_key not in host_keys:
        transport.close()
        raise _changed(target, [shown_key], host_keys)
    return transport


def _changed(target: Target, shown: Sequence[HostKey], approved: Sequence[HostKey]) -> HostKeyChanged:
    def named(keys: Sequence[HostKey]) -> str:
        return ", ".join(f"{key.fingerprint} ({key.key_type})" for key in keys)

    return HostKeyChanged(
        f"{target.place} shows the host key {named(shown)}, but approved is {named(approved)}.",
        remedy="If the device was set up anew, compare the fingerprint on the device itself "
        "(`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`) and approve the new key. If not, another "
        "machine answers in its place: do not approve it.",
    )


def _authenticate(target: Target, transport: DeviceTransport, key: paramiko.Ed25519Key) -> None:
    try:
        further = transport.auth_publickey(target.user, key)
    except paramiko.BadAuthenticationType as failure:
        raise KeyRefused(
            f"sshd on {target.place} does not take keys for the user {target.user}.",
            remedy="Set `PubkeyAuthentication yes` in /etc/ssh/sshd_config of the device and reload sshd.",
            detail=str(failure),
        ) from failure
    except paramiko.AuthenticationException as failure:
        if "timeout" in str(failure).lower():
            raise _login_failed(target, "did not answer the login in time", failure) from failure
        raise _refused(target, transport, key, failure) from failure
    except (OSError, EOFError, paramiko.SSHException) as failure:
        raise _login_failed(target, "closed the connection during the login", failure) from failure
    if further:
        raise KeyRefused(
            f"{target.place} accepts the key, but wants more: {', '.join(further)}.",
            remedy="Set `AuthenticationMethods publickey` for this user on the device and reload sshd.",
        )


def _login_failed(target: Target, what: str, failure: Exception) -> ConnectFailed:
    return ConnectFailed(
        f"{target.place} {what}.", remedy="Look at sshd's log on the device.", detail=str(failure)
    )


def _refused(
    target: Target, transport: DeviceTransport, key: paramiko.Ed25519Key, failure: Exception
) -> KeyRefused:
    line = authorized_keys_line(f"{key.get_name()} {key.get_base64()}")
    banner = (transport.get_banner() or b"").decode("utf-8", "replace")
    return KeyRefused(
        f"{target.place} does not accept the console's key for the user {target.user}.",
        remedy=f"Add this line to ~{target.user}/.ssh/authorized_keys on the device; the file must belong to "
        f"the user and nobody else may write to it or to its folders (root: `PermitRootLogin` must not "
        f"be `no`):\n{line}",
        detail=f"{banner}\n{failure}".strip(),
    )
