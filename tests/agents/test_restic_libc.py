from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from agents.errors import ToolMissing
from agents.restic.binary import Binary, find_binary
from agents.restic.libc import check_libc, find_needed_glibc
from tests.live.flows import VENV_BIN


@pytest.fixture(scope="module")
def binary() -> Binary:
    """The console's restic, or one that needs a C library: a static one is refused nowhere."""
    found = find_binary([VENV_BIN])
    linked = Path(shutil.which("sh") or "")
    return found if find_needed_glibc(found.path) else replace(found, path=linked)


def test_what_a_program_needs_is_read_from_it() -> None:
    found = find_needed_glibc(Path(shutil.which("sh") or ""))
    assert found is not None and (2, 2) < found < (3, 0)
    # ldconfig must start without any library, so that it is static wherever it comes from.
    static = shutil.which("ldconfig", path="/sbin:/usr/sbin")
    assert static is not None and find_needed_glibc(Path(static)) is None


@pytest.mark.parametrize("libc", ["glibc 2.31", "glibc 2.4", "glibc 1.99", "musl"])
def test_an_older_or_another_c_library_is_refused(binary: Binary, libc: str) -> None:
    needed = find_needed_glibc(binary.path)
    assert needed is not None
    with pytest.raises(ToolMissing, match=rf"glibc {needed[0]}\.{needed[1]}; this device has") as refusal:
        check_libc(binary, libc)
    assert libc.removeprefix("glibc ") in refusal.value.message and "static" in refusal.value.remedy


@pytest.mark.parametrize("libc", ["glibc 2.99", "glibc 2.41-6", "glibc 3.0", "", "bionic"])
def test_a_newer_or_unknown_one_is_tried(binary: Binary, libc: str) -> None:
    check_libc(binary, libc)
