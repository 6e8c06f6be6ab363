"""The way to a device over SSH. The only package that knows paramiko.

`target` is where, `keys` who, `sockets` the TCP connection, `transport` the protocol under our rules, `link`
a connection that is watched, `channels` programs and streams on it, `door` the reverse tunnel, `session` what
a flow uses, `connecting` the way there. No agent, no ~/.ssh, no known_hosts: host keys are given and pinned.
"""

from __future__ import annotations

from agents.privileges import sudoers_line
from agents.ssh.connecting import connect, fetch_host_keys
from agents.ssh.keys import HostKey, KeyPair, authorized_keys_line, make_key_pair
from agents.ssh.target import Target

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
