"""Which addresses, ports and users a form may take."""

from __future__ import annotations

import pytest

from agents.ssh import Target
from agents.ssh.names import check_address, check_port, check_user

GOOD = [
    "db1",
    "db1.example.org",
    "xn--bcher-kva.example",
    "10.0.0.5",
    "::1",
    "fe80::1%eth0",
    "a" * 63 + ".x",
    "1a",
]
BAD = [
    "",
    "-oProxyCommand=x",
    "a b",
    "a\nb",
    "db1\n",
    "a..b",
    "a.",
    ".a",
    "a_b",
    "a;b",
    "$(id)",
    "1",
    "10.0.0",
    "10.0.0.256",
    "10.0.0.5%eth0",
    "fe80::1%",
    "fe80::1%e;x",
    "[::1]",
    "bücher.example",
    "a" * 64,
    ".".join(["a" * 60] * 5),
    "user@host",
    "host:22",
]


@pytest.mark.parametrize("address", GOOD)
def test_it_takes_an_address(address: str) -> None:
    assert check_address(address) == address


@pytest.mark.parametrize("address", BAD)
def test_it_refuses_an_address(address: str) -> None:
    with pytest.raises(ValueError, match="host name"):
        check_address(address)


@pytest.mark.parametrize("user", ["root", "_x", "backup-1", "a" * 32])
def test_it_takes_a_user(user: str) -> None:
    assert check_user(user) == user


@pytest.mark.parametrize(
    "user", ["", "Root", "1a", "-x", "a b", "root\n", "a" * 33, "a;b", "ä", "a$", "root@x"]
)
def test_it_refuses_a_user(user: str) -> None:
    with pytest.raises(ValueError, match="small letter"):
        check_user(user)


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_it_refuses_a_port(port: int) -> None:
    with pytest.raises(ValueError, match="65535"):
        check_port(port)


def test_a_target_is_checked_when_it_is_made() -> None:
    with pytest.raises(ValueError, match="host name"):
        Target("-oX", 22, "root")


@pytest.mark.parametrize(("address", "label"), [("db1", "root@db1:22"), ("::1", "root@[::1]:22")])
def test_a_target_has_a_label(address: str, label: str) -> None:
    assert Target(address, 22, "root").label == label
