"""Keys, texts and lists of a policy file, taken one by one; what is wrong is noted with its line. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches
from typing import Any

from backupsite.policies.document_values import Value
from backupsite.web.visible import make_visible
from backupsite.web.yaml_tree import Items, Mapping, Node, Problem, Text

# A file with many mistakes shows this many; what comes after is only counted.
MOST_SHOWN = 50


class Report:
    """What is wrong with a file: the first problems, and how many there are in all."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.count = 0

    def add(self, line: int, sentence: str) -> None:
        self.count += 1
        if self.count <= MOST_SHOWN:
            self.problems.append(Problem(line, sentence))

    @property
    def is_full(self) -> bool:
        return self.count > MOST_SHOWN


def quote(text: str) -> str:
    """Given a text of the file, return it for a sentence."""
    return f"“{make_visible(text[:60])}”"


def take_keys(node: Node, known: Collection[str], report: Report) -> dict[str, tuple[Text, Node]] | None:
    """Given an entry, return its keys with their values. Note unknown and doubled ones; None when it is no
    entry at all."""
    if not isinstance(node, Mapping):
        report.add(node.line, f"Keys and values are expected here, like {next(iter(known))}: ….")
        return None
    taken: dict[str, tuple[Text, Node]] = {}
    for key, value in node.pairs:
        if key.value in taken:
            first = taken[key.value][0].line
            report.add(key.line, f"{quote(key.value)} stands here twice, first in line {first}.")
        elif key.value not in known:
            report.add(key.line, f"There is no {quote(key.value)} here.{_guess(key.value, known, report)}")
        else:
            taken[key.value] = key, value
    return taken


def _guess(word: str, known: Collection[str], report: Report) -> str:
    # A comparison with every key: not for the hundred thousandth mistake.
    close = [] if report.is_full else get_close_matches(word[:40], known, n=1)
    return f" Did you mean “{close[0]}”?" if close else ""


def take_text(key: Text, node: Node, report: Report) -> str | None:
    """Given a key and its value, return it as a text; None when it is none, which is noted."""
    if isinstance(node, Text):
        return node.value
    kind = "a list" if isinstance(node, Items) else "keys and values"
    report.add(
        node.line, f"{quote(key.value)} is one value; here {'is' if kind == 'a list' else 'are'} {kind}."
    )
    return None


def take_value(key: Text, node: Node, value: Value, report: Report) -> Any:
    """Given a key and its value, return what it says. `Refused` when it is not right, which is noted."""
    text = take_text(key, node, report)
    if text is None:
        return REFUSED
    try:
        return value.read(text.strip())
    except ValueError as error:
        report.add(node.line, f"{quote(key.value)}: {error}")
        return REFUSED


def take_texts(key: Text, node: Node, most: int, report: Report) -> list[Text] | None:
    """Given a key and its value, return the texts of the list; one text stands for a list of one. None when
    it is no list of texts, which is noted."""
    if isinstance(node, Text):
        return [] if node.is_nothing else [node]
    if not isinstance(node, Items):
        report.add(node.line, f"{quote(key.value)} is a list; here are keys and values.")
        return None
    if len(node.items) > most:
        report.add(node.line, f"{quote(key.value)} takes {most} at most; these are {len(node.items)}.")
        return None
    texts = [each for each in node.items if isinstance(each, Text)]
    for each in node.items:
        if not isinstance(each, Text):
            report.add(each.line, f"{quote(key.value)} is a list of single values.")
    return texts if len(texts) == len(node.items) else None


def note_twins(key: Text, texts: Iterable[Text], report: Report) -> None:
    """Note what stands twice in a list."""
    seen: set[str] = set()
    for each in texts:
        if each.value in seen:
            report.add(each.line, f"{quote(each.value)} stands twice in {quote(key.value)}.")
        seen.add(each.value)


class Refused:
    """A value that was not right."""


REFUSED = Refused()
