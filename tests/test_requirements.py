"""requirements.txt says exactly what is shipped: what we import, and all that those need, pinned."""

from __future__ import annotations

import ast
import re
import sys
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
# Loaded by their name in a setting, by Django, by uvicorn or by psycopg: no import statement of ours.
LOADED_BY_NAME = {
    "channels-redis", "django-csp", "httptools", "uvloop", "websockets",
    "psycopg", "psycopg-binary", "psycopg-pool",
}  # fmt: skip


def normalize(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def read_pins(*lines: str) -> dict[str, str]:
    """Given lines of a requirements file, return the versions that they pin for this Python."""
    pins = {}
    for line in lines:
        text = line.partition("#")[0].strip()
        if text and not text.startswith("-"):
            requirement = Requirement(text)
            if is_for_this_python(requirement):
                pins[normalize(requirement.name)] = read_version(requirement)
    return pins


def is_for_this_python(requirement: Requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""})


def read_version(requirement: Requirement) -> str:
    """Given a line's requirement, return its one version. Raise AssertionError when it leaves a choice."""
    found = re.fullmatch(r"==([^*,]+)", str(requirement.specifier))
    assert found is not None, f"{requirement} is not pinned"
    return found[1]


def read_parts() -> tuple[dict[str, str], dict[str, str]]:
    ours, theirs = (ROOT / "requirements.txt").read_text().split("# What those need.")
    return read_pins(*ours.splitlines()), read_pins(*theirs.splitlines())


def find_imported() -> set[str]:
    modules = set()
    for path in [*ROOT.glob("agents/**/*.py"), *ROOT.glob("backupsite/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules |= {name.name.partition(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                modules.add(node.module.partition(".")[0])
    modules -= {*sys.stdlib_module_names, "agents", "backupsite"}
    known = packages_distributions()
    return {normalize(known[module][0]) for module in modules}


def find_needed(names: set[str]) -> set[str]:
    needed: set[str] = set()
    waiting = list(names)
    while waiting:
        for line in distribution(waiting.pop()).requires or []:
            requirement = Requirement(line)
            if is_for_this_python(requirement):
                name = normalize(requirement.name)
                if name not in needed:
                    needed.add(name)
                    waiting.append(name)
    return needed


def test_everything_that_we_import_stands_in_the_first_part() -> None:
    ours, theirs = read_parts()
    # asgiref is Django's own other half and comes with it.
    assert find_imported() - {"asgiref"} <= set(ours), "add a line with its reason"
    assert set(ours) - find_imported() <= LOADED_BY_NAME, "nobody imports it: remove it"
    assert not set(ours) & set(theirs)


def test_everything_that_those_need_is_pinned_and_nothing_else() -> None:
    ours, theirs = read_parts()
    assert find_needed(set(ours)) - set(ours) == set(theirs)


def test_what_is_installed_is_what_is_pinned() -> None:
    development = read_pins(*(ROOT / "requirements-dev.txt").read_text().splitlines())
    ours, theirs = read_parts()
    pinned = ours | theirs | development
    assert {name: distribution(name).version for name in pinned} == pinned
