"""Bringing our restic to a device that has none or an old one, and trusting nothing that lies there."""

from __future__ import annotations

from typing import Protocol

from agents.commands import Command, Result
from agents.errors import CommandFailed, ToolMissing
from agents.restic.binary import MINIMUM, Binary, parse_version, show_version

_PIECE = 256 * 1024
_TIMEOUT_S = 60.0
# $1: the folder, $2: the SHA-256. The name appears only when the content is whole; status 9: it is not.
_RECEIVE = """
set -eu
umask 022
mkdir -p -- "$1"
part="$1/part.$$"
trap 'rm -f -- "$part"' EXIT
cat > "$part"
sum=$(sha256sum < "$part")
[ "${sum%% *}" = "$2" ] || exit 9
chmod 0755 -- "$part"
mv -f -- "$part" "$1/restic"
"""


class Sending(Protocol):
    """A program on the device that reads what we send."""

    def write(self, data: bytes) -> None: ...

    def close_stdin(self) -> None: ...

    def wait(self, *, timeout_s: float) -> int: ...

    @property
    def stderr_tail(self) -> bytes: ...

    def close(self) -> None: ...


class Device(Protocol):
    """What shipping needs: commands that run as root on the device."""

    def run(self, command: Command, *, timeout_s: float) -> Result: ...

    def start(self, command: Command) -> Sending: ...


def ship(device: Device, binary: Binary, *, timeout_s: float = 600) -> str:
    """Bring `binary` to the device unless it is there already, and return its path on it.

    The caller made sure that the machines match (`check_machine`). Raise CommandFailed when the device cannot
    keep it, ToolMissing when it does not run there (an old libc), ConnectionLost when the way is cut.
    """
    if not is_verified(device.run(verify_command(binary), timeout_s=_TIMEOUT_S), binary):
        _send(device, binary, timeout_s)
    result = device.run(Command.of(binary.device_path, "version"), timeout_s=_TIMEOUT_S)
    version = parse_version(result.stdout)
    if not result.is_success or version is None or version < MINIMUM:
        raise ToolMissing(
            "the console's restic does not run on the device",
            remedy=f"Install restic {show_version(MINIMUM)} or newer on the device.",
            detail=result.tail,
        )
    return binary.device_path


def verify_command(binary: Binary) -> Command:
    """Return what prints the SHA-256 of the program on the device. Run it before each start."""
    return Command.of("sha256sum", "--", binary.device_path)


def is_verified(result: Result, binary: Binary) -> bool:
    """Given how `verify_command` ended, return whether the device holds exactly our program."""
    return result.is_success and result.stdout.split(b" ", 1)[0] == binary.sha256.encode()


def receive_command(binary: Binary) -> Command:
    """Return what reads the program from stdin, checks it, and puts it in its place."""
    folder = binary.device_path.rpartition("/")[0]
    return Command.of("sh", "-c", _RECEIVE, "sh", folder, binary.sha256)


def remove_command(binary: Binary) -> Command:
    """Return what removes the program when the device leaves the fleet."""
    return Command.of("rm", "-rf", "--", binary.device_path.rpartition("/")[0])


def _send(device: Device, binary: Binary, timeout_s: float) -> None:
    receiver = device.start(receive_command(binary))
    try:
        with binary.path.open("rb") as file:
            while piece := file.read(_PIECE):
                receiver.write(piece)
        receiver.close_stdin()
        status = receiver.wait(timeout_s=timeout_s)
        detail = receiver.stderr_tail.decode(errors="replace")
    finally:
        receiver.close()
    if status == 9:
        raise CommandFailed("restic arrived damaged on the device", remedy="Try again.", detail=detail)
    if status != 0:
        raise CommandFailed(
            "restic could not be stored on the device",
            remedy=f"Make {binary.device_path.rpartition('/')[0]} writable for root, with 30 MB free.",
            detail=detail,
        )
