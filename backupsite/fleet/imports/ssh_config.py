"""The devices of an ssh_config. Pure.

Values are found as ssh finds them: from top to bottom, of all blocks that match a name, the first one counts.
Blocks with wildcards lend their values and are no devices; Include and Match are not followed.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from backupsite.fleet.imports.rows import DEFAULT_USER, MOST_ROWS, JumpText, Note, Parsed, Row, read_jump

_LINE = re.compile(r"\s*([A-Za-z]+)(?:\s*=\s*|\s+)(.*?)\s*")
WANTED = frozenset({"hostname", "port", "user", "proxyjump", "proxycommand"})
MOST_WILDCARDS = 200
_WILD = re.compile(r"[*?!]")


@dataclass
class Block:
    """A Host block: its names, and the first value of each keyword that matters."""

    line: int
    patterns: list[str]
    values: dict[str, str] = field(default_factory=dict)

    @property
    def is_wild(self) -> bool:
        return any(_WILD.search(pattern) for pattern in self.patterns)

    def matches(self, name: str) -> bool:
        hits = [pattern for pattern in self.patterns if _fits(name, pattern)]
        return bool(hits) and not any(pattern.startswith("!") for pattern in hits)


def _fits(name: str, pattern: str) -> bool:
    # ssh knows no character classes.
    return fnmatchcase(name, pattern.removeprefix("!").replace("[", "[[]"))


@dataclass
class Config:
    """The blocks of a file: those with wildcards, and the others by their names, each with its place."""

    blocks: list[Block]
    wild: list[int]
    by_name: dict[str, list[int]]

    def values_of(self, name: str) -> dict[str, str]:
        """Return what ssh would use for a name."""
        places = [place for place in self.wild if self.blocks[place].matches(name)]
        found: dict[str, str] = {}
        for place in sorted({*places, *self.by_name.get(name, ())}):
            for key, value in self.blocks[place].values.items():
                found.setdefault(key, value)
        return found


def parse_ssh_config(text: str) -> Parsed:
    """Given an ssh_config, return a device for each name without wildcards."""
    notes: list[Note] = []
    blocks = list(_read_blocks(text, notes))
    config = Config(blocks, [place for place, block in enumerate(blocks) if block.is_wild], {})
    if len(config.wild) > MOST_WILDCARDS:
        line = blocks[config.wild[MOST_WILDCARDS]].line
        return Parsed(
            notes=(Note(line, f"More than {MOST_WILDCARDS} blocks with wildcards.", is_error=True),)
        )
    lines: dict[str, int] = {}
    for place, block in enumerate(blocks):
        for name in block.patterns:
            if not _WILD.search(name):
                config.by_name.setdefault(name, []).append(place)
                lines.setdefault(name, block.line)
        if block.is_wild and block.line:
            notes.append(Note(block.line, f"Host {' '.join(block.patterns)[:60]}: a pattern is no device."))
    rows = [_make_row(line, name, config) for name, line in list(lines.items())[: MOST_ROWS + 1]]
    return Parsed(tuple(rows), tuple(sorted(notes)))


def _read_blocks(text: str, notes: list[Note]) -> Iterator[Block]:
    # What stands above the first Host counts for all.
    block: Block | None = Block(0, ["*"])
    for number, line in enumerate(text.split("\n"), 1):
        match = _LINE.fullmatch(line)
        if match is None or line.lstrip().startswith("#"):
            continue
        keyword, value = match[1].lower(), match[2]
        if keyword in {"host", "match"}:
            if block is not None:
                yield block
            block = Block(number, _words(value)) if keyword == "host" else None
            if block is None:
                notes.append(Note(number, "Match is not followed: what stands below it is left out."))
        elif keyword == "include":
            notes.append(Note(number, f"Include is not followed: {value[:60]}. Import that file by itself."))
        elif block is not None and keyword in WANTED:
            whole = keyword == "proxycommand"
            block.values.setdefault(keyword, value if whole else " ".join(_words(value)[:1]))
    if block is not None:
        yield block


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text, comments=True)
    except ValueError:
        return text.split()


def _make_row(line: int, name: str, config: Config) -> Row:
    values = config.values_of(name)
    address = values.get("hostname", "%h").replace("%h", name).replace("%%", "%")
    user = values.get("user", "") or DEFAULT_USER
    jump, problem = None, ""
    try:
        jump = _find_jump(name, values, config)
    except ValueError as error:
        problem = str(error)
    if "%" in address and ":" not in address:
        problem = problem or f"HostName holds {address[:40]}: only %h is filled in."
    return Row(line, name, address, values.get("port", "") or "22", user, (), jump, problem)


def _find_jump(name: str, values: dict[str, str], config: Config) -> JumpText | None:
    """Return the jump host of a device; when it is a name of the file, as the file says. Raise ValueError."""
    text = values.get("proxyjump", "")
    if not text or text.lower() == "none":
        command = values.get("proxycommand", "none")
        if command.lower() != "none" and not text:
            raise ValueError(
                "ProxyCommand is not taken. Write ProxyJump when it leads through an SSH server."
            )
        return None
    jump = read_jump(text)
    own = config.values_of(jump.address)
    if jump.address == name:
        raise ValueError("It is its own jump host.")
    if own.get("proxyjump", "none").lower() != "none":
        raise ValueError(f"Its jump host {jump.address[:60]} lies behind a jump host itself. One is taken.")
    address = own.get("hostname", "%h").replace("%h", jump.address)
    port = jump.port if jump.port != "22" else own.get("port", "22")
    return JumpText(address, port, jump.user or own.get("user", ""))
