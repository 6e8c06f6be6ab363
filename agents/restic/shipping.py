"""Bringing our restic to a device that has none or an old one, and trusting nothing that lies there."""

from __future__ import annotations

import contextlib
from typing import Protocol

from agents.commands import Command, Result
from agents.errors import CommandFailed, ConnectionLost, ToolMissing
from agents.own_places import CACHE
from agents.restic.binary import INSTALL, MINIMUM, Binary, parse_version

_PIECE = 256 * 1024
ELSEWHERE = (
    f"let {CACHE} lead to a folder of root's on another file system that may be written to and run programs "
    f"(a symbolic link or a bind mount)."
)
_TIMEOUT_S = 60.0
_LAST_WORDS_S = 10.0
# $1: the folder, $2: the SHA-256. The name appears only when the content is whole; status 9: it is not.
_RECEIVE = """
set -eu
umask 022
PATH=$PATH:/usr/bin:/bin LC_ALL=C
export PATH LC_ALL
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
    start = Command.of("env", "LC_ALL=C", binary.device_path, "version")
    result = device.run(start, timeout_s=_TIMEOUT_S)
    version = parse_version(result.stdout)
    if not result.is_success or version is None or version < MINIMUM:
        raise _explain_start(device, binary, result)
    return binary.device_path


def _explain_start(device: Device, binary: Binary, result: Result) -> ToolMissing:
    """Given how our program did not start, say why, as far as the device tells."""
    mount = device.run(
        Command.of("findmnt", "-n", "-o", "OPTIONS,TARGET", "-T", binary.device_path), timeout_s=_TIMEOUT_S
    )
    options, _, point = mount.text.strip().partition(" ")
    if "noexec" in options.split(","):
        return ToolMissing(
            f"No program may start in {CACHE} on the device: {point.strip()} is mounted noexec",
            remedy=f"{INSTALL} Or {ELSEWHERE}",
            detail=result.tail,
        )
    # A program that is there and is not found lacks its loader: it is for another C library.
    if "GLIBC_" in result.tail or result.status == 127:
        words = "needs another C library than the device has"
        return ToolMissing(f"The restic that Hotfleet ships {words}", remedy=INSTALL, detail=result.tail)
    return ToolMissing(
        "The restic that Hotfleet ships does not start on the device",
        remedy=f"{INSTALL} Where SELinux, AppArmor or fapolicyd forbid it, allow {CACHE}.",
        detail=result.tail,
    )


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
        status = _feed(receiver, binary, timeout_s)
        detail = receiver.stderr_tail.decode(errors="replace")
    finally:
        receiver.close()
    if status == 9:
        raise CommandFailed("Restic arrived damaged on the device", remedy="Try again.", detail=detail)
    if status != 0:
        raise _explain_storing(detail)


def _feed(receiver: Sending, binary: Binary, timeout_s: float) -> int:
    """Send the program and return how the receiver ended. It may end before it has read everything."""
    try:
        with binary.path.open("rb") as file:
            while piece := file.read(_PIECE):
                receiver.write(piece)
        receiver.close_stdin()
    except ConnectionLost:
        with contextlib.suppress(TimeoutError, ConnectionLost):
            if status := receiver.wait(timeout_s=_LAST_WORDS_S):
                return status
        raise
    return receiver.wait(timeout_s=timeout_s)


def _explain_storing(detail: str) -> CommandFailed:
    """Given what was said when our program could not be stored, say why."""
    said = detail.lower()
    if "read-only file system" in said:
        message = f"There is no place for restic on the device: {CACHE} lies on a read-only file system"
        return CommandFailed(message, remedy=f"{INSTALL} Or {ELSEWHERE}", detail=detail)
    if "no space left" in said or "quota exceeded" in said:
        message = f"There is no room for restic on the device: 30 MB are needed in {CACHE}"
        return CommandFailed(message, remedy=f"Make room there. Or {ELSEWHERE}", detail=detail)
    return CommandFailed(
        "Restic could not be stored on the device",
        remedy=f"Make {CACHE} writable for root, with 30 MB free.",
        detail=detail,
    )
