"""Which programs a device has, and how old they are."""

from __future__ import annotations

import re
from dataclasses import dataclass

from agents.commands import Command
from agents.facts.wire import split_fields

NAMES = (
    "restic",
    "btrfs",
    "unshare",
    "setsid",
    "sha256sum",
    "mount",
    "nice",
    "ionice",
    "systemd-run",
    "fsfreeze",
    "lvm",
    "zfs",
)
# What the runner cannot do without; the rest changes what a plan can choose.
REQUIRED = ("unshare", "setsid", "sha256sum", "mount")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SCRIPT = rf"""
PATH={_PATH}
for tool in {" ".join(NAMES)}; do
  version=''
  found=$(command -v "$tool") || continue
  case $tool in
    restic) version=$("$found" version 2>/dev/null) ;;
    btrfs | unshare) version=$("$found" --version 2>/dev/null) ;;
  esac
  printf '%s\0' "$tool" "$found" "$version"
done
"""
TOOLS = Command.of("sh", "-c", _SCRIPT)
_VERSION = re.compile(r"(?:^|[ v])(\d{1,4}(?:\.\d{1,4}){1,3})")


@dataclass(frozen=True, slots=True)
class Tool:
    """A program. `version` is its dotted number, or "" when it was not asked or not understood."""

    name: str
    path: str
    version: str

    def is_at_least(self, *numbers: int) -> bool:
        """Return whether its version is known and not older than this."""
        return bool(self.version) and tuple(int(word) for word in self.version.split(".")) >= numbers


def parse_tools(output: bytes) -> tuple[Tool, ...]:
    """Given what the command printed, return the tools. Raise ProtocolBroken when the fields do not fit."""
    tools = []
    for name, path, version in split_fields(output, 3):
        match = _VERSION.search(version.partition("\n")[0])
        tools.append(Tool(name, path, match[1] if match is not None else ""))
    return tuple(tools)
