"""Inventories, ssh_configs and lists: case files, what ssh itself says, and files that nobody should send."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backupsite.fleet.imports.ansible import parse_ansible
from backupsite.fleet.imports.csv_list import parse_csv
from backupsite.fleet.imports.rows import MOST_ROWS, Parsed, Row
from backupsite.fleet.imports.ssh_config import parse_ssh_config

CASES = Path(__file__).resolve().parents[3] / "cases" / "imports"
PARSERS: dict[str, Callable[[str], Parsed]] = {
    "inventory.ini": parse_ansible,
    "inventory.yaml": parse_ansible,
    "config.ssh_config": parse_ssh_config,
    "list.csv": parse_csv,
}


def plain(row: Row) -> list[Any]:
    jump = [row.jump.address, row.jump.port, row.jump.user] if row.jump is not None else None
    return [row.line, row.name, row.address, row.port, row.user, list(row.tags), jump, row.problem]


@pytest.mark.parametrize("name", PARSERS)
def test_a_file_is_read_as_it_is_meant(name: str) -> None:
    parsed = PARSERS[name]((CASES / name).read_bytes().decode())
    expected = json.loads((CASES / f"{name}.json").read_text())
    assert [plain(row) for row in parsed.rows] == expected["rows"]
    assert [[note.line, note.sentence] for note in parsed.notes] == expected["notes"]


@pytest.mark.parametrize("name", ["gate", "web-1", "web-2", "db-1", "db-2", "far"])
def test_ssh_finds_the_same_way(name: str, tmp_path: Path) -> None:
    text = (CASES / "config.ssh_config").read_text()
    file = tmp_path / "config"
    # Match blocks are left out here, and a pattern of includes would be looked for in ~/.ssh.
    file.write_text(text.replace("Include", "#Include").replace("Match user root\n  Port 1\n", ""))
    said = subprocess.run(
        ["ssh", "-G", "-F", str(file), name], capture_output=True, text=True, check=True
    ).stdout
    ssh = dict(line.split(" ", 1) for line in said.splitlines())
    (row,) = (row for row in parse_ssh_config(text).rows if row.name == name)
    assert (row.address, row.port, row.user) == (ssh["hostname"], ssh["port"], ssh["user"])


def errors(parsed: Parsed) -> list[tuple[int, str]]:
    return [(note.line, note.sentence) for note in parsed.notes if note.is_error]


@pytest.mark.parametrize(
    ("text", "line", "begins"),
    [
        ("[a:children]\nb\n[b:children]\nc\n[c:children]\na\n[c]\nx\n", 6, "The group a contains itself"),
        ("[a:children]\na\n[a]\nx\n", 2, "The group a contains itself"),
        ("[web\nx\n", 1, "This is no name of a group."),
        ("[web]\nx ansible_user='a\n", 2, "A quote begins here"),
        ("[web]\nx[1:999999999]\n", 2, "The range [1:999999999] holds none, or more than 1000."),
        ("[web]\nx[9:1]\n", 2, "The range [9:1] holds none"),
        ("[web]\nx[aa:zz]\n", 2, "The range [aa:zz] is none."),
        ("all:\n  hosts: [a]\n", 2, "hosts: names one a line"),
        ("all: 3\n", 1, "The group all has hosts:"),
        ("plugin: aws_ec2\n", 1, "This asks a plug-in for hosts"),
        ("all: &x\n  children: *x\n", 1, "Anchors (&) and aliases (*) are not taken."),
        ("all:\n  hosts: !!python/object:x {}\n", 2, "Tags are not taken"),
        ("---\n" + "a:\n children:\n" * 3 + "  a: [", 9, "This is no YAML"),
        ("".join(f"[g{number}]\n" for number in range(1001)), 1001, "More than 1000 groups."),
    ],
)
def test_an_inventory_that_cannot_be_used_says_where(text: str, line: int, begins: str) -> None:
    (problem,) = errors(parse_ansible(text))
    assert (problem[0], problem[1][: len(begins)]) == (line, begins)


@pytest.mark.parametrize(
    ("text", "line", "begins"),
    [
        ("", 1, "There is nothing in this file."),
        ("web-1,10.0.0.1\n", 1, "The first line names the columns"),
        ("name,address,name\n", 1, "A column stands in the first line twice."),
        ('name,address\na,"b\n', 2, "This is no CSV"),
        ('name,address\na,"b"c\n', 2, "This is no CSV"),
        ("name,address\n" + "x" * 200_000 + ",b\n", 2, "This is no CSV"),
    ],
)
def test_a_list_that_cannot_be_used_says_where(text: str, line: int, begins: str) -> None:
    (problem,) = errors(parse_csv(text))
    assert (problem[0], problem[1][: len(begins)]) == (line, begins)


def test_a_jump_host_behind_a_jump_host_is_refused() -> None:
    text = "Host a\n ProxyJump b\nHost b\n ProxyJump c\nHost c\n ProxyJump a\n"
    said = {row.name: row.problem for row in parse_ssh_config(text).rows}
    assert all("lies behind a jump host itself" in problem for problem in said.values())
    assert set(said) == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (parse_ansible, "[all]\n" + "".join(f"h{number}\n" for number in range(100_000))),
        (parse_ansible, "[all]\nh[1:1000]x[1:1000]y[1:1000]\n"),
        (parse_ansible, "all:\n  hosts:\n" + "".join(f"    h{number}:\n" for number in range(100_000))),
        (parse_ssh_config, "".join(f"Host h{number}\n" for number in range(100_000))),
        (parse_csv, "name,address\n" + "".join(f"h{number},h\n" for number in range(100_000))),
    ],
    ids=["ini", "ranges", "yaml", "ssh_config", "csv"],
)
def test_a_hundred_thousand_rows_are_too_many_and_known_to_be(
    parse: Callable[[str], Parsed], text: str
) -> None:
    assert len(parse(text).rows) == MOST_ROWS + 1


PARTS = """
[web]|[a:children]|[a:vars]|Host x*|Host y|ProxyJump|=|'|"|web|:|  |ansible_host=|{|}
- |name,address|,|;|[1:3]
%h|-o|all:
"""
words = st.sampled_from([*PARTS.replace("\n", "|").split("|"), "\n", "\t", "\x1b", "\x85", "é"])


@settings(max_examples=300, deadline=None)
@given(st.lists(words, max_size=30).map("".join))
def test_no_text_is_more_than_a_parser_can_answer(text: str) -> None:
    for parse in (parse_ansible, parse_ssh_config, parse_csv):
        for note in parse(text).notes:
            assert note.sentence
