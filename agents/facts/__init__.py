"""Facts: what was read from a device. A command and a parser of its output, one file a tool.

Everything here comes from a device and may be hostile: a parser is pure, and returns what it understood
whole or raises ProtocolBroken."""

from agents.facts.btrfs import BtrfsFacts, Subvolume
from agents.facts.databases import DatabaseSeen
from agents.facts.device import (
    DeviceFacts,
    RunsCommands,
    from_json,
    read_facts,
    read_lvm,
    read_paths,
    to_json,
)
from agents.facts.instances import Detail, Instance
from agents.facts.lvm import LogicalVolume, LvmFacts
from agents.facts.mounts import ExpectedMount, Mount
from agents.facts.paths import PathFact
from agents.facts.system import SystemFacts
from agents.facts.tools import Tool

__all__ = [
    "BtrfsFacts",
    "DatabaseSeen",
    "Detail",
    "DeviceFacts",
    "ExpectedMount",
    "Instance",
    "LogicalVolume",
    "LvmFacts",
    "Mount",
    "PathFact",
    "RunsCommands",
    "Subvolume",
    "SystemFacts",
    "Tool",
    "from_json",
    "read_facts",
    "read_lvm",
    "read_paths",
    "to_json",
]
