"""The way to a device over SSH. The only package that knows paramiko.

`target` is where, `keys` who, `sockets` the TCP connection, `transport` the protocol under our rules, `link`
a connection that is watched, `channels` programs and streams on it, `door` the reverse tunnel, `session` what
a flow uses, `connecting` the way there. No agent, no ~/.ssh, no known_hosts: host keys are given and pinned.

paramiko (21 MB) is loaded when something connects for the first time: the web process needs the rest only.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from agents.privileges import sudoers_line
from agents.ssh.keys import HostKey, KeyPair, authorized_keys_line, make_key_pair
from agents.ssh.target import Target

if TYPE_CHECKING:
    from agents.ssh.connecting import connect, fetch_host_keys

__all__ = [
    "HostKey",
    "KeyPair",
    "Target",
    "authorized_keys_line",
    "connect",
    "fetch_host_keys",
    "make_key_pair",
    "sudoers_line",
]


def __getattr__(name: str) -> object:
    if name in ("connect", "fetch_host_keys"):
        return getattr(importlib.import_module("agents.ssh.connecting"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
