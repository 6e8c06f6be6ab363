"""What both ways to write an Ansible inventory come to: hosts, groups, variables; then devices. Pure.

Groups become tags, those above them too. A host's own variables come before those of its groups, and those
of a group before those of the groups above it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from backupsite.fleet.imports.rows import DEFAULT_USER, MOST_ROWS, JumpText, Note, Parsed, Row, read_jump

ALL, UNGROUPED = "all", "ungrouped"
# Old names of Ansible's variables, still read by it.
_NAMES = {
    "ansible_host": "host",
    "ansible_ssh_host": "host",
    "ansible_port": "port",
    "ansible_ssh_port": "port",
    "ansible_user": "user",
    "ansible_ssh_user": "user",
    "ansible_connection": "connection",
    "ansible_ssh_common_args": "args",
    "ansible_ssh_extra_args": "more_args",
}
MOST_GROUPS = 1000
MOST_IN_RANGE = 1000
_RANGE = re.compile(r"\[([0-9A-Za-z]+):([0-9A-Za-z]+)(?::([0-9]{1,4}))?\]")
_JUMP_OPTION = re.compile(r"proxyjump\s*[= ]\s*(.+)", re.IGNORECASE)


@dataclass
class Group:
    """A group: where it stands, its variables, the groups above it."""

    line: int
    values: dict[str, str] = field(default_factory=dict)
    parents: dict[str, int] = field(default_factory=dict)


@dataclass
class Inventory:
    """Hosts in the order of the file: the line of each, its variables and its groups."""

    lines: dict[str, int] = field(default_factory=dict)
    values: dict[str, dict[str, str]] = field(default_factory=dict)
    groups_of: dict[str, dict[str, None]] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)

    @property
    def is_full(self) -> bool:
        return len(self.lines) > MOST_ROWS

    def group(self, name: str, line: int) -> Group:
        """Return a group; it is made when it is named first."""
        if name not in self.groups and len(self.groups) >= MOST_GROUPS:
            raise TooMuch(line, f"More than {MOST_GROUPS} groups.")
        return self.groups.setdefault(name, Group(line))

    def add(self, name: str, line: int, group: str, values: Mapping[str, str]) -> None:
        """Note a host of a group; one may stand in several."""
        self.lines.setdefault(name, line)
        self.values.setdefault(name, {}).update(values)
        self.groups_of.setdefault(name, {})[group] = None


class TooMuch(Exception):
    """The file asks for more than anybody means."""

    def __init__(self, line: int, sentence: str) -> None:
        super().__init__(sentence)
        self.note = Note(line, sentence, is_error=True)


def keep_known(values: Mapping[str, str]) -> dict[str, str]:
    """Given variables, return those that say how a host is reached, by one name each."""
    return {_NAMES[name]: value for name, value in values.items() if name in _NAMES}


def expand(pattern: str, line: int) -> Iterator[str]:
    """Given a host with ranges (web[01:50], db-[a:c]), yield its names. Raise TooMuch."""
    match = _RANGE.search(pattern)
    if match is None:
        yield pattern
        return
    for part in _steps(match[1], match[2], int(match[3] or "1"), line):
        yield from expand(f"{pattern[: match.start()]}{part}{pattern[match.end() :]}", line)


def _steps(first: str, last: str, step: int, line: int) -> Iterator[str]:
    if first.isdigit() and last.isdigit():
        begin, end = int(first[:9]), int(last[:9])
        width = len(first) if first.startswith("0") else 0
        made = [
            f"{number:0{width}d}" for number in range(begin, min(end, begin + MOST_IN_RANGE) + 1, step or 1)
        ]
    elif len(first) == len(last) == 1:
        end = ord(last)
        made = [chr(code) for code in range(ord(first), end + 1, step or 1)]
    else:
        raise TooMuch(line, f"The range [{first[:20]}:{last[:20]}] is none.")
    if not made or len(made) > MOST_IN_RANGE:
        raise TooMuch(line, f"The range [{first[:20]}:{last[:20]}] holds none, or more than {MOST_IN_RANGE}.")
    return iter(made)


def make_rows(inventory: Inventory) -> Parsed:
    """Given what was read, return the devices."""
    if cycle := _find_cycle(inventory):
        return Parsed(notes=(cycle,))
    notes, rows = list(inventory.notes), []
    above: dict[str, list[str]] = {}
    for name, line in list(inventory.lines.items())[: MOST_ROWS + 1]:
        groups = list(inventory.groups_of[name])
        for group in groups:
            above.setdefault(group, _list_above(inventory, group))
        # The nearest group counts first.
        order = list(dict.fromkeys([*groups, *(each for group in groups for each in above[group]), ALL]))
        values: dict[str, str] = {}
        for each in order:
            values = {**(inventory.groups[each].values if each in inventory.groups else {}), **values}
        values |= inventory.values[name]
        if values.get("connection", "ssh") not in {"ssh", "smart", "paramiko", "paramiko_ssh"}:
            notes.append(Note(line, f"{name[:60]} is not reached over SSH: {values['connection'][:40]}."))
            continue
        tags = tuple(sorted(each for each in order if each not in {ALL, UNGROUPED}))
        rows.append(_make_row(line, name, values, tags))
    return Parsed(tuple(rows), tuple(sorted(notes)))


def _list_above(inventory: Inventory, group: str) -> list[str]:
    """Return the groups above one, the nearest first."""
    found: dict[str, None] = {}
    waiting = [group]
    while waiting:
        group = waiting.pop(0)
        parents = inventory.groups[group].parents if group in inventory.groups else {}
        new = [each for each in parents if each not in found]
        found |= dict.fromkeys(new)
        waiting += new
    return list(found)


def _find_cycle(inventory: Inventory) -> Note | None:
    """Take away groups without a group above them until none is left: what stays contains itself."""
    above = {name: set(group.parents) & inventory.groups.keys() for name, group in inventory.groups.items()}
    while free := [name for name, parents in above.items() if not parents]:
        for name in free:
            del above[name]
        for parents in above.values():
            parents.difference_update(free)
    if not above:
        return None
    name = min(above, key=lambda each: inventory.groups[each].line)
    line = min(inventory.groups[name].parents.values())
    return Note(line, f"The group {name[:60]} contains itself, by way of other groups.", is_error=True)


def _make_row(line: int, name: str, values: Mapping[str, str], tags: tuple[str, ...]) -> Row:
    problem, jump = "", None
    if any("{{" in value or "{%" in value for value in values.values()):
        problem = "A value is a template ({{ … }}): only Ansible knows what comes out. Write it out."
    try:
        jump = find_jump(f"{values.get('args', '')} {values.get('more_args', '')}")
    except ValueError as error:
        problem = problem or str(error)
    return Row(
        line,
        name,
        values.get("host", "") or name,
        values.get("port", "") or "22",
        values.get("user", "") or DEFAULT_USER,
        tags,
        jump,
        problem,
    )


def find_jump(arguments: str) -> JumpText | None:
    """Given arguments of ssh, return the jump host in them, if any. Raise ValueError with one sentence."""
    try:
        words = shlex.split(arguments)
    except ValueError:
        raise ValueError("The arguments of ssh have a quote that does not end.") from None
    for place, word in enumerate(words):
        following = words[place + 1] if place + 1 < len(words) else ""
        if word.startswith("-J"):
            return read_jump(word[2:] or following)
        option = following if word == "-o" else word.removeprefix("-o") if word.startswith("-o") else ""
        if match := _JUMP_OPTION.fullmatch(option.strip()):
            return None if match[1].lower() == "none" else read_jump(match[1])
        if option.strip().lower().startswith("proxycommand"):
            raise ValueError(
                "ProxyCommand is not taken. Write ProxyJump when it leads through an SSH server."
            )
    return None
