"""Browser tests that need a device use the live test ground."""

from __future__ import annotations

from tests.live.ground import live_ground, make_device

__all__ = ["live_ground", "make_device"]
