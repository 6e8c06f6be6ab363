"""A device that only a jump host can reach: its end of the cable lies in the jump host's namespace."""

from __future__ import annotations

from agents.ssh import HostKey, Target, connect
from agents.ssh.keys import jump_keys_line
from agents.ssh.session import SshSession
from agents.ssh.target import JumpHost
from tests.live.ground import Device, command


def hide_behind(device: Device, jump: Device) -> str:
    """Take a device's cable away from the console, plug it into the jump host, and let the device's key pass
    there to this device alone. Return the jump host's user: not root, with a shell that runs nothing."""
    link = f"{device.name}h"
    command("ip", "link", "set", link, "netns", jump.namespace)
    words = ("address", "add", f"{device.console_address}/30", "dev", link)
    command("ip", "-n", jump.namespace, *words)
    command("ip", "-n", jump.namespace, "link", "set", link, "up")
    user = jump.make_user(may_sudo=False, shell="/usr/sbin/nologin", suffix="j")
    jump.authorize(user, jump_keys_line(device.key_pair.public_line, [device.target().endpoint]))
    return user


def jump_target(device: Device, jump: Device, user: str, host_keys: list[HostKey] | None = None) -> Target:
    """Return the way to a hidden device, with these approved keys of the jump host (its own by default)."""
    keys = jump.host_keys[:1] if host_keys is None else host_keys
    way = JumpHost(jump.address, jump.port, user, host_keys=tuple(keys))
    return Target(device.address, device.port, "root", way)


def connect_through(
    target: Target, device: Device, *, host_keys: list[HostKey] | None = None, timeout_s: float = 15
) -> SshSession:
    """Return an open session with these approved keys of the device (its own by default)."""
    keys = device.host_keys[:1] if host_keys is None else host_keys
    return connect(target, private_key=device.key_pair.private_key, host_keys=keys, timeout_s=timeout_s)
