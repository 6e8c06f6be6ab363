"""Plug-ins: one object per module of a package. Adding one is adding one file."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from types import ModuleType
from typing import TypeVar

T = TypeVar("T")


def find_plugins(package: ModuleType, list_classes: Callable[[], list[type[T]]]) -> dict[str, T]:
    """Given a package and what lists the classes of a contract (its `__subclasses__`), return one instance of
    each that is in a module of the package, keyed by its `name`.

    Raise TypeError when a module defines two, or when two share a name. Imports every module of the package.
    """
    modules = {f"{package.__name__}.{each.name}": 0 for each in pkgutil.iter_modules(package.__path__)}
    for name in modules:
        importlib.import_module(name)
    found: dict[str, T] = {}
    for plugin_class in list_classes():
        module = plugin_class.__module__
        if module not in modules:
            continue
        modules[module] += 1
        if modules[module] > 1:
            raise TypeError(f"{module} defines {modules[module]} plug-ins; one file holds one")
        plugin = plugin_class()
        name = str(getattr(plugin, "name", ""))
        if not name or name in found:
            raise TypeError(f"{module}: the plug-in's name {name!r} is empty or taken")
        found[name] = plugin
    return found
