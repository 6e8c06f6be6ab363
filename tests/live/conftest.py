"""The fixtures of the test ground, and the mark that says what every test here needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.live.copying import elsewhere, machine, spread
from tests.live.ground import device, live_ground, make_device

__all__ = ["device", "elsewhere", "live_ground", "machine", "make_device", "spread"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder as live."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.live)
