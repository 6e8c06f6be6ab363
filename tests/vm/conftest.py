"""The fixtures of the lab, and the mark that says what every test here needs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from tests.live.flows import Console
from tests.live.ground import Device
from tests.vm.image import find_image
from tests.vm.machine import TOOLS, Vm


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder as one of the virtual machine."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.vm)


@pytest.fixture(scope="session")
def needs_qemu() -> None:
    """Skip where the tools or root's rights are missing. In CI that is a failure."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = [tool for tool in TOOLS if shutil.which(tool, path=path) is None]
    if os.geteuid() != 0:
        missing.insert(0, "root")
    if missing:
        reason = f"the virtual machine needs: {', '.join(missing)}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="package")
def booted_vm(needs_qemu: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vm]:
    """The machine, booted once for all tests. It ends with the last of them: it takes processor time idle."""
    machine = Vm(find_image(), tmp_path_factory.mktemp("vm"))
    try:
        machine.boot()
        yield machine
    finally:
        machine.close()


@pytest.fixture
def vm(booted_vm: Vm) -> Vm:
    """The machine, running. It is shared by all tests: each leaves it as it found it."""
    booted_vm.ensure_up()
    return booted_vm


@pytest.fixture
def console(vm: Vm, tmp_path: Path) -> Console:
    """A console with a repository for the machine."""
    # Of a device it uses the name, the target, the host keys and the key pair: Vm has them.
    return Console(cast(Device, vm), tmp_path)
