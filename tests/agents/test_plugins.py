"""Plug-ins are found in their package: one a module, each with a name of its own, nobody else's."""

from __future__ import annotations

import importlib
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

import pytest

from agents.plugins import find_plugins

HEAD = "from tests.agents.test_plugins import Animal\n"
DOG = "class Dog(Animal):\n    name = 'dog'\n    def speak(self): return 'woof'\n"
CAT = "class Cat(Animal):\n    name = 'cat'\n    def speak(self): return 'miaow'\n"

Find = Callable[..., "dict[str, Animal]"]


class Animal(ABC):
    name = ""

    @abstractmethod
    def speak(self) -> str: ...


class Stranger(Animal):
    name = "stranger"

    def speak(self) -> str:
        return ""


@pytest.fixture
def find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Find:
    """Write these modules into a new package and find what is in it."""
    package = f"plugged_{tmp_path.name}"

    def find_in(**modules: str) -> dict[str, Animal]:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
        for name, text in modules.items():
            (tmp_path / package / f"{name}.py").write_text(HEAD + text)
        monkeypatch.syspath_prepend(tmp_path)
        importlib.import_module(package)
        return find_plugins(sys.modules[package], Animal.__subclasses__)

    return find_in


def test_each_module_gives_its_own_and_strangers_are_left_alone(find: Find) -> None:
    found = find(dog=DOG, cat=CAT, words="from tests.agents.test_plugins import Stranger\n")
    assert {name: each.speak() for name, each in found.items()} == {"dog": "woof", "cat": "miaow"}


def test_two_in_a_file_are_refused(find: Find) -> None:
    with pytest.raises(TypeError, match="one file holds one"):
        find(both=DOG + CAT)


@pytest.mark.parametrize("name", ["dog", ""])
def test_a_name_that_is_taken_or_empty_is_refused(find: Find, name: str) -> None:
    with pytest.raises(TypeError, match="empty or taken"):
        find(dog=DOG, other=CAT.replace("'cat'", repr(name)))
