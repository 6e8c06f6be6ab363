"""Policies as the text of a file. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import yaml

from backupsite.policies.document import PolicyState, make_plain

HEAD = (
    "# Policies of Hotfleet. Change this file and import it: what it does not name stays as it is,\n"
    "# and what it says already is not written again.\n"
)


class _Dumper(yaml.CSafeDumper):
    """Writes commands of several lines as blocks that people can read."""


def _represent(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent)


def write_policies(states: Iterable[PolicyState]) -> str:
    """Given policies, return the file, sorted by name. What looks like a number or a time to other readers of
    YAML has quotes."""
    plain = [make_plain(state) for state in sorted(states, key=lambda state: state.name)]
    body = yaml.dump(
        {"policies": plain}, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100, indent=2
    )
    return HEAD + str(body)
