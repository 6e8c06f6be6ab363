"""Reading JSON records of restic with their types checked."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TypeVar

from agents.errors import ProtocolBroken

_Value = TypeVar("_Value")


class Fields:
    """One JSON object. Each getter raises ProtocolBroken when the value has another type than asked for.

    A missing or null field reads as the empty value: restic leaves out what is zero.
    """

    def __init__(self, record: object, what: str) -> None:
        if not isinstance(record, dict):
            raise ProtocolBroken(f"restic's {what} is not an object", detail=repr(record)[:500])
        self._record: dict[str, object] = record
        self._what = what

    @classmethod
    def parse(cls, text: str | bytes, what: str) -> Fields:
        """Given JSON text of one object, return it. Raise ProtocolBroken when it is something else."""
        return cls(parse_json(text, what), what)

    def has(self, name: str) -> bool:
        return self._record.get(name) is not None

    def text(self, name: str) -> str:
        return self._typed(name, str) or ""

    def integer(self, name: str) -> int:
        value = self._typed(name, int)
        if isinstance(value, bool) or (value is not None and not -(2**63) <= value < 2**63):
            raise self._broken(name)
        return value or 0

    def number(self, name: str) -> float:
        value = self._record.get(name)
        if value is None:
            return 0.0
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._broken(name)
        return float(value)

    def flag(self, name: str) -> bool:
        return self._typed(name, bool) or False

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of texts."""
        values = self._typed(name, list) or []
        if not all(isinstance(value, str) for value in values):
            raise self._broken(name)
        return tuple(values)

    def fields(self, name: str) -> Fields:
        """Return an object inside of this one; an empty one when it is missing."""
        value = self._record.get(name)
        return Fields({} if value is None else value, f"{self._what}.{name}")

    def list(self, name: str) -> tuple[Fields, ...]:
        """Return a list of objects."""
        values = self._typed(name, list) or []
        return tuple(Fields(value, f"{self._what}.{name}") for value in values)

    def moment(self, name: str) -> datetime | None:
        """Return an aware time in UTC, None when it is missing or beyond what Python can hold."""
        text = self.text(name)
        if not text:
            return None
        try:
            return datetime.fromisoformat(text).astimezone(UTC)
        except OverflowError:
            return None
        except ValueError as error:
            raise self._broken(name) from error

    def _typed(self, name: str, kind: type[_Value]) -> _Value | None:
        value = self._record.get(name)
        if value is not None and not isinstance(value, kind):
            raise self._broken(name)
        return value

    def _broken(self, name: str) -> ProtocolBroken:
        shown = repr(self._record.get(name))[:500]
        return ProtocolBroken(f"restic's {self._what} has an unexpected {name!r}", detail=shown)


def parse_json(text: str | bytes, what: str) -> object:
    """Given JSON text, return the value. Raise ProtocolBroken when it is not JSON."""
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        shown = repr(text[:500])
        raise ProtocolBroken(f"restic's {what} is not JSON", detail=shown) from error
    return value
