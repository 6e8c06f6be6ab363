"""What a person pastes on a device, and on a jump host before it, to let the console in."""

from __future__ import annotations

import shlex
from typing import Any

from agents.ssh import authorized_keys_line, sudoers_line
from agents.ssh.keys import jump_keys_line
from backupsite.fleet.jump_hosts import find_twin, list_endpoints
from backupsite.fleet.models import Device, JumpHost

_FILE = "~/.ssh/authorized_keys"


def key_context(device: Device) -> dict[str, Any]:
    """Return what must be pasted on a device that is reached over SSH."""
    if device.ssh_key is None:
        raise LookupError(f"{device} is reached over SSH and has no key of the console.")
    line = authorized_keys_line(device.ssh_key.public_line)
    needs_sudo = device.user != "root"
    return {
        "paste": make_paste_command(line),
        "needs_sudo": needs_sudo,
        "sudoers": make_sudoers_command(device.user) if needs_sudo else "",
        **_jump_context(device.jump_host, device.ssh_key.public_line),
    }


def _jump_context(jump_host: JumpHost | None, public_line: str) -> dict[str, Any]:
    if jump_host is None:
        return {"jump_host": None}
    endpoints = list_endpoints(jump_host)
    return {
        "jump_host": jump_host,
        "jump_twin": find_twin(jump_host),
        "jump_endpoints": endpoints,
        "jump_paste": make_jump_paste_command(public_line, endpoints),
    }


def make_paste_command(line: str) -> str:
    """Given a line for authorized_keys, return the command that adds it once. Pure."""
    quoted = shlex.quote(line)
    file = _FILE
    # In a subshell: the umask of whoever pastes it stays. A file may lack its last line's end.
    return (
        f"(umask 077; mkdir -p ~/.ssh && touch {file} && "
        f"{{ grep -qxF {quoted} {file} || printf '\\n%s\\n' {quoted} >> {file}; }})"
    )


def make_jump_paste_command(public_line: str, endpoints: list[str]) -> str:
    """Given our public line and the devices behind a jump host, return the command that puts the line for all
    of them in the place of an older one. Pure.

    A line that lets the console in as on a device is kept: the jump host is one under another name."""
    key, line = shlex.quote(public_line.split()[1]), shlex.quote(jump_keys_line(public_line, endpoints))
    return (
        f"(umask 077; mkdir -p ~/.ssh && touch {_FILE} && "
        f"{{ grep -F {key} {_FILE} | grep -q permitlisten || "
        f"{{ {{ grep -vF {key} {_FILE} || [ $? = 1 ]; }} > {_FILE}.new && "
        f"printf '%s\\n' {line} >> {_FILE}.new && mv -f {_FILE}.new {_FILE}; }}; }})"
    )


def make_sudoers_command(user: str) -> str:
    """Given a user, return the command for root that installs the sudo rule after checking it. Pure."""
    rule = shlex.quote(sudoers_line(user))
    # A broken file in sudoers.d takes sudo away from everybody: checked elsewhere first.
    return (
        f"printf '%s\\n' {rule} > /root/hotfleet.sudoers && visudo -cf /root/hotfleet.sudoers && "
        "install -m 0440 /root/hotfleet.sudoers /etc/sudoers.d/hotfleet; rm -f /root/hotfleet.sudoers"
    )
