"""An Ansible inventory, written as INI or as YAML. Pure. Files beside it (group_vars, host_vars), inventory
scripts and templates are not followed."""

from __future__ import annotations

import re
import shlex

from backupsite.fleet.imports.inventory import (
    UNGROUPED,
    Inventory,
    TooMuch,
    expand,
    keep_known,
    make_rows,
)
from backupsite.fleet.imports.rows import Note, Parsed, fail
from backupsite.web.yaml_tree import Mapping, Node, Text, Unreadable, read_tree

_SECTION = re.compile(r"\[([^\]:]+)(?::(vars|children))?\]\s*(?:[#;].*)?")
_WITH_PORT = re.compile(r"([^:\s]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})")
# Values that only Ansible can open stand there, and are none that matter here.
_TAGS = ("!vault", "!unsafe", "!vault-encrypted")

PLUGIN = (
    "This asks a plug-in for hosts and names none itself. Run ansible-inventory --list --yaml and import "
    "what it prints."
)


def parse_ansible(text: str) -> Parsed:
    """Given an inventory, in INI or in YAML, return its devices."""
    first = next((line for line in text.splitlines() if line.strip() and line.strip()[0] not in "#;"), "")
    is_yaml = first.strip() == "---" or re.fullmatch(r"[\w.-]+:(\s.*)?", first) is not None
    inventory = Inventory()
    try:
        if is_yaml:
            _read_yaml(read_tree(text, known_tags=_TAGS), inventory)
        else:
            _read_ini(text, inventory)
        return make_rows(inventory)
    except TooMuch as error:
        return Parsed(notes=(error.note,))
    except Unreadable as error:
        return fail(error.problem.line, error.problem.sentence)


def _read_ini(text: str, inventory: Inventory) -> None:
    group, kind = UNGROUPED, ""
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        if line.startswith("["):
            section = _SECTION.fullmatch(line)
            if section is None and not _is_host(line):
                raise TooMuch(number, "This is no name of a group. Write it like [web].")
            if section is not None:
                group, kind = section[1].strip(), section[2] or ""
                inventory.group(group, number)
                continue
        if inventory.is_full:
            return
        _read_line(line, number, group, kind, inventory)


def _is_host(line: str) -> bool:
    # An IPv6 address with a port begins with a bracket too.
    return _WITH_PORT.fullmatch(line.split()[0]) is not None


def _read_line(line: str, number: int, group: str, kind: str, inventory: Inventory) -> None:
    if kind == "children":
        child = line.split("#")[0].strip()
        inventory.group(child, number).parents.setdefault(group, number)
        return
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        raise TooMuch(number, "A quote begins here and does not end.") from None
    if kind == "vars":
        name, _, value = line.partition("=")
        inventory.group(group, number).values.update(keep_known({name.strip(): _unquote(value)}))
        return
    values = keep_known(dict(word.split("=", 1) for word in words[1:] if "=" in word))
    for name in expand(words[0], number):
        _add(name, number, group, values, inventory)
        if inventory.is_full:
            return


def _unquote(value: str) -> str:
    text = value.strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


def _add(name: str, line: int, group: str, values: dict[str, str], inventory: Inventory) -> None:
    port = _WITH_PORT.fullmatch(name)
    if port is not None:
        name, values = port[1].strip("[]"), {"port": port[2], **values}
    inventory.add(name, line, group, values)


def _read_yaml(root: Node | None, inventory: Inventory) -> None:
    if not isinstance(root, Mapping):
        raise TooMuch(1, "An inventory names groups, like all: with hosts: below it.")
    for key, node in root.pairs:
        if key.value == "plugin":
            raise TooMuch(key.line, PLUGIN)
        _read_group(key, node, None, inventory)


def _read_group(key: Text, node: Node, parent: str | None, inventory: Inventory) -> None:
    group = inventory.group(key.value, key.line)
    if parent is not None:
        group.parents.setdefault(parent, key.line)
    if isinstance(node, Text) and node.is_nothing:
        return
    if not isinstance(node, Mapping):
        raise TooMuch(node.line, f"The group {key.value[:60]} has hosts:, vars: or children: below it.")
    for part, value in node.pairs:
        if isinstance(value, Text) and value.is_nothing:
            continue
        if part.value == "vars":
            group.values.update(_values(value))
        elif part.value in {"hosts", "children"} and not isinstance(value, Mapping):
            raise TooMuch(value.line, f"{part.value}: names one a line, each with a colon.")
        elif part.value == "hosts":
            _read_hosts(value, key.value, inventory)
        elif part.value == "children":
            for child, below in value.pairs if isinstance(value, Mapping) else ():
                _read_group(child, below, key.value, inventory)
        else:
            inventory.notes.append(
                Note(part.line, f"{part.value[:60]} is not known here: it was passed over.")
            )


def _read_hosts(node: Node, group: str, inventory: Inventory) -> None:
    for name, value in node.pairs if isinstance(node, Mapping) else ():
        for each in expand(name.value, name.line):
            _add(each, name.line, group, _values(value), inventory)
            if inventory.is_full:
                return


def _values(node: Node) -> dict[str, str]:
    if not isinstance(node, Mapping):
        return {}
    return keep_known({key.value: value.value for key, value in node.pairs if isinstance(value, Text)})
