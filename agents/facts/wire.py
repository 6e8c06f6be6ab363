"""How facts travel: NUL-separated fields from a device, JSON into storage."""

from __future__ import annotations

import json
import types
import typing
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from agents.commands import Result, to_text
from agents.errors import ProtocolBroken

T = TypeVar("T")


def split_fields(output: bytes, width: int) -> list[tuple[str, ...]]:
    """Given NUL-terminated fields, return rows of `width`. Raise ProtocolBroken when they do not fit."""
    if not output:
        return []
    if not output.endswith(b"\0"):
        raise ProtocolBroken("a list of facts ends in the middle", detail=repr(output[-200:]))
    words = [to_text(word) for word in output[:-1].split(b"\0")]
    if len(words) % width:
        raise ProtocolBroken("a list of facts has a field too many", detail=repr(words[-width:]))
    return [tuple(words[start : start + width]) for start in range(0, len(words), width)]


def parse_number(text: str, what: str) -> int:
    """Given digits, return the number. Raise ProtocolBroken when it is something else."""
    if not text.isascii() or not text.isdigit() or len(text) > 20:
        raise ProtocolBroken(f"{what} is not a number", detail=repr(text[:200]))
    return int(text)


def require(result: Result, what: str) -> bytes:
    """Given a command's result, return its output. Raise ProtocolBroken when it failed."""
    if not result.is_success:
        raise ProtocolBroken(f"{what} could not be read on the device", detail=result.tail)
    return result.stdout


def to_json(value: object) -> str:
    """Given a frozen dataclass of facts, return it as ASCII JSON. Bytes that are not UTF-8 are escapes."""
    return json.dumps(_pack(value), separators=(",", ":"), ensure_ascii=True)


def from_json(kind: type[T], text: str) -> T:
    """Given what `to_json` made of a `kind`, return it. Raise ProtocolBroken when it does not fit."""
    try:
        value: T = _unpack(kind, json.loads(text))
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise ProtocolBroken(f"stored facts cannot be read: {error}") from error
    return value


def _pack(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _pack(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple):
        return [_pack(item) for item in value]
    return value


def _unpack(kind: Any, value: Any) -> Any:
    """`Any` twice: types and JSON are only known while it runs."""
    origin = typing.get_origin(kind)
    if origin is tuple:
        return tuple(_unpack(typing.get_args(kind)[0], item) for item in value)
    if origin is types.UnionType:
        if value is None:
            return None
        return _unpack(next(each for each in typing.get_args(kind) if each is not type(None)), value)
    if is_dataclass(kind) and isinstance(kind, type):
        hints = typing.get_type_hints(kind)
        return kind(**{name: _unpack(hints[name], item) for name, item in value.items()})
    if not isinstance(value, kind):
        raise TypeError(f"{value!r:.80} is not a {kind.__name__}")
    return kind(value)
