"""Browser tests that need a device use the live test ground. All of them are patient."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.live.ground import live_ground, make_device

__all__ = ["live_ground", "make_device"]

# Playwright gives up after 5 s: two processors that also run the other tests are not that fast every time.
expect.set_options(timeout=60_000)
