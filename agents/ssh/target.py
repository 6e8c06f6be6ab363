"""Where a device is reached, and through which machines."""

from __future__ import annotations

from dataclasses import dataclass

from agents.ssh.keys import HostKey
from agents.ssh.names import check_address, check_port, check_user


@dataclass(frozen=True)
class Target:
    """An address, a port and a user, and the jump host that leads there when the console has no way itself.

    Behind a jump host the name of the address is looked up there. Raise ValueError when a part is malformed.
    """

    address: str
    port: int
    user: str
    through: JumpHost | None = None

    def __post_init__(self) -> None:
        check_address(self.address)
        check_port(self.port)
        check_user(self.user)

    @property
    def endpoint(self) -> str:
        """Address and port, as permitopen= of authorized_keys wants them too."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    @property
    def place(self) -> str:
        """How sentences name it."""
        return self.endpoint

    @property
    def subject(self) -> str:
        """How sentences begin with it."""
        return self.endpoint

    @property
    def machine(self) -> str:
        """What it is, in sentences about it."""
        return "the device"

    @property
    def label(self) -> str:
        """The way, as the log names it."""
        way = "" if self.through is None else f" through {self.through.place}"
        return f"{self.user}@{self.endpoint}{way}"


@dataclass(frozen=True)
class JumpHost(Target):
    """A machine on the way to a device, with its approved host keys. It may itself lie behind another one."""

    host_keys: tuple[HostKey, ...] = ()

    @property
    def place(self) -> str:
        return f"the jump host {self.endpoint}"

    @property
    def subject(self) -> str:
        return f"The jump host {self.endpoint}"

    @property
    def machine(self) -> str:
        return "the jump host"
