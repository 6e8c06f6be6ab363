"""The way to a session: reach the device, look at its host key, show ours, see what we may do."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from functools import partial

import paramiko
from paramiko.ssh_exception import IncompatiblePeer

from agents.commands import Secret
from agents.errors import AgentError, ConnectFailed, HostKeyChanged, HostKeyUnknown, KeyRefused
from agents.ssh.jumping import open_way
from agents.ssh.keys import FAMILIES, HostKey, authorized_keys_line
from agents.ssh.link import Link
from agents.ssh.session import SshSession
from agents.ssh.sockets import connect_socket
from agents.ssh.target import JumpHost, Target
from agents.ssh.transport import DeviceTransport, Dial, nothing_in_common, open_transport


def connect(
    target: Target, *, private_key: Secret, host_keys: Sequence[HostKey], timeout_s: float = 15
) -> SshSession:
    """Given a target, our key and the approved host keys, return an open session.

    Our key is only used after the device proved to have an approved one; the same holds for each jump host.
    Raise HostKeyUnknown when nothing is approved yet, HostKeyChanged, KeyRefused, PrivilegeMissing,
    PlatformRefused, ForwardingRefused (by a jump host), ConnectFailed, or ConnectionLost. `timeout_s` bounds
    the way up to each login, and again each question that follows it.
    """
    link = _open_link(target, host_keys, _read_private_key(private_key), timeout_s)
    try:
        return SshSession(link, timeout_s=timeout_s)
    except BaseException:
        link.close()
        raise


def fetch_host_keys(
    target: Target, timeout_s: float = 15, *, private_key: Secret | None = None
) -> list[HostKey]:
    """Given a target, return the host keys that it shows, best first, without authenticating there.

    Our key is for the jump host alone. One connection for each kind of key. Raise ConnectFailed,
    PlatformRefused when it has none that we accept, and what `connect` raises for a jump host."""
    if target.through is None:
        return _fetch(target, partial(connect_socket, target), time.monotonic() + timeout_s)
    if private_key is None:
        raise ValueError("a jump host is passed with the console's key")
    jump = _open_jump(target.through, _read_private_key(private_key), timeout_s)
    try:
        return _fetch(target, partial(open_way, jump, target), time.monotonic() + timeout_s)
    finally:
        jump.close()


def _fetch(target: Target, dial: Dial, deadline: float) -> list[HostKey]:
    found: list[HostKey] = []
    refusal: Exception = paramiko.SSHException("no kind of host key was tried")
    for family in FAMILIES:
        try:
            transport = open_transport(target, dial, family, deadline)
        except IncompatiblePeer as failure:
            refusal = failure
            continue
        found.append(transport.remote_host_key())
        transport.close()
    if not found:
        raise nothing_in_common(target, refusal)
    return found


def _open_jump(jump: JumpHost, key: paramiko.Ed25519Key, timeout_s: float) -> Link:
    try:
        return _open_link(jump, jump.host_keys, key, timeout_s)
    except AgentError as error:
        error.tick = "jump-host"
        raise


def _open_link(
    target: Target, host_keys: Sequence[HostKey], key: paramiko.Ed25519Key, timeout_s: float
) -> Link:
    """Return a link on which we are logged in. The jump host is reached first, and left with it."""
    if not host_keys:
        raise HostKeyUnknown(
            f"No host key of {target.place} is approved yet.",
            remedy=f"Fetch the host key, compare its fingerprint on {target.machine}, and approve it.",
        )
    jump = None if target.through is None else _open_jump(target.through, key, timeout_s)
    dial = partial(connect_socket, target) if jump is None else partial(open_way, jump, target)
    try:
        transport = _pinned_transport(target, dial, host_keys, time.monotonic() + timeout_s)
        try:
            _authenticate(target, transport, key)
            return Link(target, transport, jump)
        except BaseException:
            transport.close()
            raise
    except BaseException:
        if jump is not None:
            jump.close()
        raise


def _read_private_key(private_key: Secret) -> paramiko.Ed25519Key:
    try:
        return paramiko.Ed25519Key.from_private_key(io.StringIO(private_key.reveal()))
    except (paramiko.SSHException, ValueError) as failure:
        raise ValueError("the console's private key is not an ed25519 key in OpenSSH's format") from failure


def _pinned_transport(
    target: Target, dial: Dial, host_keys: Sequence[HostKey], deadline: float
) -> DeviceTransport:
    try:
        transport = open_transport(target, dial, [key.key_type for key in host_keys], deadline)
    except IncompatiblePeer as failure:
        shown = _fetch(target, dial, max(deadline, time.monotonic() + 1.0))
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
        f"{target.subject} shows the host key {named(shown)}, but approved is {named(approved)}.",
        remedy=f"If {target.machine} was set up anew, compare the fingerprint on {target.machine} itself "
        "(`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`) and approve the new key. If not, another "
        "machine answers in its place: do not approve it.",
    )


def _authenticate(target: Target, transport: DeviceTransport, key: paramiko.Ed25519Key) -> None:
    try:
        further = transport.auth_publickey(target.user, key)
    except paramiko.BadAuthenticationType as failure:
        raise KeyRefused(
            f"sshd on {target.place} does not take keys for the user {target.user}.",
            remedy="Set `PubkeyAuthentication yes` in /etc/ssh/sshd_config "
            f"of {target.machine} and reload sshd.",
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
            f"{target.subject} accepts the key, but wants more: {', '.join(further)}.",
            remedy="Set `AuthenticationMethods publickey` for this user "
            f"on {target.machine} and reload sshd.",
        )


def _login_failed(target: Target, what: str, failure: Exception) -> ConnectFailed:
    return ConnectFailed(
        f"{target.subject} {what}.", remedy=f"Look at sshd's log on {target.machine}.", detail=str(failure)
    )


def _refused(
    target: Target, transport: DeviceTransport, key: paramiko.Ed25519Key, failure: Exception
) -> KeyRefused:
    banner = (transport.get_banner() or b"").decode("utf-8", "replace")
    return KeyRefused(
        f"{target.subject} does not accept the console's key for the user {target.user}.",
        remedy=f"{_line_to_add(target, key)} The file must belong to the user, nobody else may write to it "
        "or to its folders, and the account must not be locked or expired (root: `PermitRootLogin` must "
        "not be `no`).",
        detail=f"{banner}\n{failure}".strip(),
    )


def _line_to_add(target: Target, key: paramiko.Ed25519Key) -> str:
    file = f"~{target.user}/.ssh/authorized_keys on {target.machine}"
    if isinstance(target, JumpHost):
        # It names every device behind the jump host: only the console knows them all.
        return f"Add the line that the device's connection page shows for the jump host to {file}."
    return f"Add this line to {file}:\n{authorized_keys_line(f'{key.get_name()} {key.get_base64()}')}\n"
