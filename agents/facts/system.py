"""What a device is: operating system, kernel, size, clock."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from agents.commands import Command
from agents.errors import ProtocolBroken
from agents.facts.wire import parse_number, split_fields

_SCRIPT = r"""
say() { printf '%s\0' "$1" "$2"; }
say kernel "$(uname -r)"
say machine "$(uname -m)"
say host_name "$(uname -n)"
say os "$(cat /etc/os-release 2>/dev/null || cat /usr/lib/os-release 2>/dev/null)"
say libc "$(getconf GNU_LIBC_VERSION 2>/dev/null || { set -- /lib/ld-musl-*; [ -e "$1" ] && echo musl; })"
say processors "$(getconf _NPROCESSORS_ONLN 2>/dev/null || nproc)"
say memory "$(cat /proc/meminfo)"
say boot_id "$(cat /proc/sys/kernel/random/boot_id)"
say time_zone "$(cat /etc/timezone 2>/dev/null || readlink /etc/localtime || echo UTC)"
say systemd "$(systemctl is-system-running 2>/dev/null)"
say selinux "$(cat /sys/fs/selinux/enforce 2>/dev/null)"
say selinux_context "$([ -e /sys/fs/selinux/enforce ] && tr -d '\0' </proc/self/attr/current)"
say clock "$(date +%s)"
"""
SYSTEM = Command.of("sh", "-c", _SCRIPT)
_BOOT_ID = re.compile(r"^[0-9a-f-]{36}$")
_KEYS = frozenset(
    [
        "kernel",
        "machine",
        "host_name",
        "os",
        "libc",
        "processors",
        "memory",
        "boot_id",
        "time_zone",
        "systemd",
        "selinux",
        "selinux_context",
        "clock",
    ]
)


@dataclass(frozen=True, slots=True)
class SystemFacts:
    """`libc` is "glibc 2.36", "musl" or "". `clock_s` is the device's own time as seconds since 1970.
    `selinux` is "enforcing", "permissive" or "disabled", `selinux_context` what commands run in there."""

    os_id: str
    os_version: str
    os_name: str
    kernel: str
    machine: str
    host_name: str
    libc: str
    processors: int
    memory_bytes: int
    memory_free_bytes: int
    boot_id: str
    clock_s: int
    time_zone: str
    runs_systemd: bool
    selinux: str = "disabled"
    selinux_context: str = ""


def parse_system(output: bytes) -> SystemFacts:
    """Given what the command printed, return the facts. Raise ProtocolBroken when one is missing."""
    values = {key: value for key, value in split_fields(output, 2)}
    if values.keys() != _KEYS:
        raise ProtocolBroken("the device said something else about itself", detail=repr(sorted(values))[:500])
    if not _BOOT_ID.match(values["boot_id"]):
        raise ProtocolBroken("the boot id is not one", detail=repr(values["boot_id"][:100]))
    os_release = parse_os_release(values["os"])
    return SystemFacts(
        os_id=os_release.get("ID", "linux"),
        os_version=os_release.get("VERSION_ID", ""),
        os_name=os_release.get("PRETTY_NAME", "Linux"),
        kernel=values["kernel"],
        machine=values["machine"],
        host_name=values["host_name"],
        libc=values["libc"],
        processors=parse_number(values["processors"], "the number of processors"),
        memory_bytes=_memory(values["memory"], "MemTotal"),
        memory_free_bytes=_memory(values["memory"], "MemAvailable"),
        boot_id=values["boot_id"],
        clock_s=parse_number(values["clock"], "the device's clock"),
        time_zone=values["time_zone"].partition("zoneinfo/")[2] or values["time_zone"],
        runs_systemd=values["systemd"] in ("running", "degraded", "starting"),
        selinux=_parse_selinux(values["selinux"]),
        selinux_context=values["selinux_context"][:200],
    )


def _parse_selinux(enforce: str) -> str:
    modes = {"1": "enforcing", "0": "permissive", "": "disabled"}
    if enforce not in modes:
        raise ProtocolBroken("the mode of SELinux is not one", detail=repr(enforce[:100]))
    return modes[enforce]


def parse_os_release(text: str) -> dict[str, str]:
    """Given os-release(5), return its variables. Lines that a shell could not read are skipped."""
    variables = {}
    for line in text.split("\n"):
        name, separator, value = line.partition("=")
        if not separator or not name.isidentifier():
            continue
        try:
            words = shlex.split(value)
        except ValueError:
            continue
        variables[name] = words[0][:200] if words else ""
    return variables


def _memory(text: str, name: str) -> int:
    match = re.search(rf"^{name}: +(\d{{1,18}}) kB$", text, re.MULTILINE)
    if match is None:
        raise ProtocolBroken(f"/proc/meminfo has no {name}", detail=repr(text[:200]))
    return int(match[1]) * 1024
