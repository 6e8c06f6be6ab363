"""YAML that people send, as texts, lists and mappings with the number of their line. Pure.

Nothing is guessed from how a text looks: "no" stays "no" and 02:30 stays 02:30 (YAML 1.1 reads false and
9,000). Tags and anchors are refused: they build objects, or a terabyte from ten lines.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import yaml
from yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

MOST_BYTES = 8 * 1024 * 1024
DEEPEST = 16


@dataclass(frozen=True, slots=True)
class Text:
    """A text. `is_plain`: without quotes, so that `~` and an empty one mean nothing at all."""

    value: str
    line: int
    is_plain: bool = True

    @property
    def is_nothing(self) -> bool:
        return self.is_plain and self.value in {"", "~", "null"}


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    items: tuple[Node, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Mapping:
    """Keys with their values, in the order of the file. A key may stand there twice: the caller says so."""

    pairs: tuple[tuple[Text, Node], ...]
    line: int


Node = Text | Items | Mapping


@dataclass(frozen=True, order=True, slots=True)
class Problem:
    """One sentence about one line of a file, counted from 1."""

    line: int
    sentence: str


class Unreadable(Exception):
    """A file cannot be read on from `problem.line`."""

    def __init__(self, line: int, sentence: str) -> None:
        super().__init__(f"line {line}: {sentence}")
        self.problem = Problem(line, sentence)


def read_text(data: bytes, *, most_bytes: int = MOST_BYTES) -> str:
    """Given a file, return its text. Raise Unreadable when it is too large, no UTF-8, or holds NUL."""
    if len(data) > most_bytes:
        raise Unreadable(1, f"The file is larger than {most_bytes // 1024**2} MiB. Send it in parts.")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Unreadable(1, "The file is UTF-16. Save it as UTF-8.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(
            data.count(b"\n", 0, error.start) + 1, "This is no UTF-8. Save the file as UTF-8."
        ) from None
    if "\0" in text:
        raise Unreadable(text.count("\n", 0, text.index("\0")) + 1, "There is a NUL here: this is no text.")
    return text


def read_tree(text: str, *, known_tags: Collection[str] = ()) -> Node | None:
    """Given YAML, return its one document; None when there is nothing in it. Values with a tag of
    `known_tags` are taken as texts. Raise Unreadable with the line."""
    try:
        return _Reader(yaml.parse(text, Loader=yaml.CSafeLoader), known_tags).read()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = f": {error.problem}" if error.problem else ""
        raise Unreadable(mark.line + 1 if mark is not None else 1, f"This is no YAML{said}.") from None
    except yaml.reader.ReaderError as error:
        line = text.encode()[: error.position].count(b"\n") + 1
        raise Unreadable(line, "There is a character here that YAML does not take.") from None


class _Reader:
    """Builds the tree from the parser's events; what would make more of it than stands there is refused."""

    def __init__(self, events: Iterator[Event], known_tags: Collection[str]) -> None:
        self._events = events
        self._known_tags = known_tags

    def read(self) -> Node | None:
        document: Node | None = None
        is_read = False
        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                if is_read:
                    raise Unreadable(_line(event), "A second document begins here. Write one.")
                document, is_read = self._node(next(self._events), 0), True
            elif isinstance(event, StreamEndEvent):
                break
        return None if isinstance(document, Text) and document.is_nothing else document

    def _node(self, event: Event, depth: int) -> Node:
        line = _line(event)
        self._check(event, line, depth)
        if isinstance(event, ScalarEvent):
            return Text(event.value, line, is_plain=not event.style)
        if isinstance(event, SequenceStartEvent):
            return Items(tuple(self._members(depth)), line)
        return Mapping(tuple(self._pairs(depth)), line)

    def _check(self, event: Event, line: int, depth: int) -> None:
        if isinstance(event, AliasEvent) or (isinstance(event, NodeEvent) and event.anchor):
            raise Unreadable(line, "Anchors (&) and aliases (*) are not taken. Write the value out.")
        tag = getattr(event, "tag", None)
        if tag is not None and tag not in self._known_tags:
            raise Unreadable(line, f"Tags are not taken: “{tag[:40]}”. Write the value alone.")
        if depth > DEEPEST:
            raise Unreadable(line, f"Nested deeper than {DEEPEST} times.")
        if not isinstance(event, ScalarEvent | SequenceStartEvent | MappingStartEvent):
            raise Unreadable(line, "This is no YAML.")

    def _members(self, depth: int) -> Iterator[Node]:
        for event in self._events:
            if isinstance(event, CollectionEndEvent):
                return
            yield self._node(event, depth + 1)

    def _pairs(self, depth: int) -> Iterator[tuple[Text, Node]]:
        for event in self._events:
            if isinstance(event, CollectionEndEvent):
                return
            key = self._node(event, depth + 1)
            if not isinstance(key, Text):
                raise Unreadable(key.line, "A key is one text.")
            yield key, self._node(next(self._events), depth + 1)


def _line(event: Event) -> int:
    mark = event.start_mark
    return int(mark.line) + 1 if mark is not None else 1
