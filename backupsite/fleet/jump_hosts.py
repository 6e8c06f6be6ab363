"""Jump hosts: they come with the first device behind them and go with the last one."""

from __future__ import annotations

from agents.ssh import Target
from backupsite.fleet.models import Device, JumpHost


def find_jump_host(address: str, port: int, user: str) -> JumpHost:
    """Given the checked way to a jump host, return its row. It is made for its first device."""
    found, _ = JumpHost.objects.get_or_create(address=address, port=port, user=user)
    return found


def remove_unused() -> None:
    """Remove the jump hosts that no device needs any more, with their host keys."""
    JumpHost.objects.filter(devices=None).delete()


def list_endpoints(jump_host: JumpHost) -> list[str]:
    """Return "address:port" of all devices behind a jump host, sorted. Runs one query."""
    ways = jump_host.devices.order_by("address", "port").values_list("address", "port")
    return list(dict.fromkeys(Target(address, port, "root").endpoint for address, port in ways))


def find_twin(jump_host: JumpHost) -> Device | None:
    """Return the device that is this jump host, reached as the same user. Its line in authorized_keys lets
    the console through as well, and sshd looks at one line of a key only. Runs one query."""
    return Device.objects.filter(
        reach=Device.SSH,
        address__iexact=jump_host.address,
        port=jump_host.port,
        user=jump_host.user,
        jump_host=None,
    ).first()
