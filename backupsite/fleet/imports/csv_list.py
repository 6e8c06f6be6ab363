"""A list of devices as CSV: name,address,port,user,tags,jump host. Pure."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable

from backupsite.fleet.imports.rows import (
    DEFAULT_USER,
    MOST_ROWS,
    JumpText,
    Note,
    Parsed,
    Row,
    fail,
    read_jump,
)

COLUMNS = ("name", "address", "port", "user", "tags", "jump host")
_SEPARATORS = re.compile(r"[,;|]")


def parse_csv(text: str) -> Parsed:
    """Given a list with a line of names above it, return its devices. Commas, semicolons or tabs separate."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(text.splitlines(keepends=True), delimiter=delimiter, strict=True)
    try:
        return _read(reader, delimiter)
    except csv.Error as error:
        return fail(reader.line_num, f"This is no CSV: {error}.")


def _read(reader: Iterable[list[str]], delimiter: str) -> Parsed:
    columns: list[str] | None = None
    rows: list[Row] = []
    notes: list[Note] = []
    for cells in reader:
        line = int(getattr(reader, "line_num", 0))
        if not any(cell.strip() for cell in cells):
            continue
        if columns is None:
            columns = [" ".join(cell.lower().replace("_", " ").split()) for cell in cells]
            if problem := _find_problem(columns):
                return fail(line, problem)
            continue
        if len(rows) > MOST_ROWS:
            break
        rows.append(_make_row(line, columns, cells))
    if columns is None:
        return fail(1, "There is nothing in this file.")
    return Parsed(tuple(rows), tuple(notes))


def _find_problem(columns: list[str]) -> str:
    for needed in ("name", "address"):
        if needed not in columns:
            return f"The first line names the columns: {','.join(COLUMNS)}. There is no “{needed}”."
    if len(set(columns)) < len(columns):
        return "A column stands in the first line twice."
    return ""


def _make_row(line: int, columns: list[str], cells: list[str]) -> Row:
    said = dict(zip(columns, (cell.strip() for cell in cells), strict=False))
    problem = (
        f"This line has {len(cells)} columns, the first {len(columns)}." if len(cells) > len(columns) else ""
    )
    jump: JumpText | None = None
    if text := said.get("jump host", ""):
        try:
            jump = read_jump(text)
        except ValueError as error:
            problem = problem or str(error)
    tags = (tag.strip() for tag in _SEPARATORS.split(said.get("tags", "")))
    return Row(
        line,
        said.get("name", ""),
        said.get("address", ""),
        said.get("port", "") or "22",
        said.get("user", "") or DEFAULT_USER,
        tuple(dict.fromkeys(tag for tag in tags if tag)),
        jump,
        problem,
    )
