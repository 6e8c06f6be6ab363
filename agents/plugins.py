"""Plug-ins: one object per module of a package. Adding one is adding one file."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType
from typing import TypeVar

T = TypeVar("T")


def find_plugins(package: ModuleType, contract: type[T]) -> dict[str, T]:
    """Given a package and a base class, return one instance of each concrete subclass, keyed by its `name`.

    Each module of the package that defines a subclass must define exactly one. Raise TypeError when a module
    defines two, or when two share a name. Imports every module of the package.
    """
    found: dict[str, T] = {}
    for module_info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{module_info.name}")
        classes = [
            value
            for value in vars(module).values()
            if isinstance(value, type)
            and issubclass(value, contract)
            and value.__module__ == module.__name__
            and value is not contract
        ]
        if len(classes) > 1:
            raise TypeError(f"{module.__name__} defines {len(classes)} plug-ins; one file holds one")
        for plugin_class in classes:
            plugin = plugin_class()
            name = str(getattr(plugin, "name", ""))
            if not name or name in found:
                raise TypeError(f"{module.__name__}: the plug-in's name {name!r} is empty or taken")
            found[name] = plugin
    return found
