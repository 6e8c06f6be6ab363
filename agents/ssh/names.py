"""Which addresses, ports and user names are taken. Pure: forms use it before anything is connected."""

from __future__ import annotations

import ipaddress
import re

_LABEL = re.compile(r"^[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?$")
_ZONE = re.compile(r"^[A-Za-z0-9_.-]{1,15}$")
_USER = re.compile(r"^[a-z_][a-z0-9_-]{0,31}$")


def check_address(address: str) -> str:
    """Given a host name or an IP address, return it. Raise ValueError with one sentence otherwise."""
    if _is_ip(address) or _is_host_name(address):
        return address
    raise ValueError("The address must be a host name such as db1.example.org or an IP address.")


def check_port(port: int) -> int:
    """Given a TCP port, return it. Raise ValueError with one sentence when it is out of range."""
    if 1 <= port <= 65535:
        return port
    raise ValueError("The port must be a number from 1 to 65535.")


def check_user(user: str) -> str:
    """Given a user name of a device, return it. Raise ValueError with one sentence when it is not one."""
    if _USER.fullmatch(user):
        return user
    raise ValueError(
        "The user must start with a small letter or _, go on with these, digits or -, and have at most 32."
    )


def _is_ip(address: str) -> bool:
    text, percent, zone = address.partition("%")
    if percent and not (":" in text and _ZONE.fullmatch(zone)):
        return False
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_host_name(address: str) -> bool:
    labels = address.split(".")
    # A last label of digits only would be read as an IP address by some resolvers ("1" is 0.0.0.1).
    return (
        len(address) <= 253 and not labels[-1].isdigit() and all(_LABEL.fullmatch(label) for label in labels)
    )
