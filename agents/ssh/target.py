"""Where a device is reached."""

from __future__ import annotations

from dataclasses import dataclass

from agents.ssh.names import check_address, check_port, check_user


@dataclass(frozen=True)
class Target:
    """An address, a port and a user. Raise ValueError when one of them is malformed."""

    address: str
    port: int
    user: str

    def __post_init__(self) -> None:
        check_address(self.address)
        check_port(self.port)
        check_user(self.user)

    @property
    def place(self) -> str:
        """Address and port as sentences name them."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    @property
    def label(self) -> str:
        return f"{self.user}@{self.place}"
