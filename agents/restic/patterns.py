"""Which paths restic's exclude patterns match (its document 040, "Excluding Files"; Go's filepath.Match)."""

from __future__ import annotations

import re
from collections.abc import Sequence

_PIECE = re.compile(
    r"\\(?P<literal>.)|(?P<set>\[\^?(?:\\.|[^\\\]])+\])|(?P<any>\*)|(?P<one>\?)|(?P<plain>.)", re.S
)


def make_excluded(patterns: Sequence[str]) -> re.Pattern[str] | None:
    """Given exclude patterns, return what `search`es an absolute path for one of them, parents included.

    Return None when nothing is excluded for sure: without a pattern, with one that takes others back ("!"),
    or with one that only Go understands."""
    if not patterns or any(pattern.startswith("!") for pattern in patterns):
        return None
    try:
        return re.compile("|".join(f"(?:{_to_expression(pattern)})" for pattern in patterns), re.S)
    except re.error:  # a range like [z-a], which matches nothing in Go
        return None


def _to_expression(pattern: str) -> str:
    start = "^/" if pattern.startswith("/") else "/"
    parts = [part for part in pattern.split("/") if part]
    body = ""
    for part in parts[:-1]:
        body += "(?:[^/]+/)*" if part == "**" else f"{_match_name(part)}/"
    last = parts[-1] if parts else "**"
    return f"{start}{body}" + (".*" if last == "**" else f"{_match_name(last)}(?:/|$)")


def _match_name(part: str) -> str:
    expression = ""
    for piece in _PIECE.finditer(part):
        if piece["any"]:
            expression += "[^/]*"
        elif piece["one"]:
            expression += "[^/]"
        elif piece["set"]:
            expression += piece["set"].replace("[[", "[\\[")
        else:
            expression += re.escape(piece["literal"] or piece["plain"])
    return expression
