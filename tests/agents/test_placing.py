"""Which restic a device gets, against what devices of several kinds answered."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest

from agents.commands import Command, Result
from agents.errors import ToolMissing
from agents.placing import place_restic
from agents.restic.binary import Binary, find_binary
from agents.runner import Runner
from agents.session import Session
from tests.live.flows import VENV_BIN

# What `uname -m` and `getconf GNU_LIBC_VERSION` print.
RASPBERRY = b"aarch64\nglibc 2.36\n"
GRAVITON = b"aarch64\nglibc 2.34\n"
ARMHF = b"armv7l\nglibc 2.31\n"
MAINFRAME = b"s390x\nglibc 2.39\n"
ALPINE = b"x86_64\nmusl\n"
DEBIAN_11 = b"x86_64\nglibc 2.31\n"


class Answering:
    """A device that answers from a transcript; anything else is a mistake of the test."""

    def __init__(self, platform: bytes, restic: bytes = b"") -> None:
        self._platform = platform
        self._restic = restic

    def run(self, command: Command, *, timeout_s: float, check: bool = True) -> Result:
        if command.argv[:2] == ("restic", "version"):
            return Result(command, 0 if self._restic else 127, self._restic, b"")
        assert "getconf" in command.shell_line(), command.shell_line()
        return Result(command, 0, self._platform, b"")


@pytest.fixture(scope="module")
def binary() -> Binary:
    return replace(find_binary([VENV_BIN]), machine="x86_64")


def place(answering: Answering, binary: Binary) -> str:
    # Nothing may be sent in these cases: there is no session.
    return place_restic(cast(Session, None), cast(Runner, answering), binary, is_local=False)


@pytest.mark.parametrize("platform", [RASPBERRY, GRAVITON, ARMHF, MAINFRAME])
@pytest.mark.parametrize("restic", [b"", b"restic 0.14.0 compiled with go1.19.8 on linux/arm64\n"])
def test_another_machine_is_told_what_to_install(binary: Binary, platform: bytes, restic: bytes) -> None:
    with pytest.raises(ToolMissing) as refusal:
        place(Answering(platform, restic), binary)
    machine = platform.split()[0].decode()
    assert f"needs a restic for {machine}, Hotfleet ships one for x86_64" in refusal.value.message
    assert ("0.14.0 is too old" in refusal.value.message) is bool(restic)
    assert "Debian 13" in refusal.value.remedy and "for this machine" in refusal.value.remedy


@pytest.mark.parametrize("platform", [RASPBERRY, MAINFRAME, ALPINE, DEBIAN_11])
def test_the_devices_own_new_enough_restic_is_used_on_any_machine(binary: Binary, platform: bytes) -> None:
    restic = b"restic 0.18.0 compiled with go1.24.4 on linux/arm64\n"
    assert place(Answering(platform, restic), binary) == "restic"


@pytest.mark.parametrize(("platform", "has"), [(ALPINE, "musl"), (DEBIAN_11, "2.31")])
def test_another_c_library_is_told_before_anything_is_sent(binary: Binary, platform: bytes, has: str) -> None:
    with pytest.raises(ToolMissing, match=f"this device has {has}"):
        place(Answering(platform), binary)
