"""A device behind a jump host in a real browser: two lines to paste, two fingerprints, and the ticks."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.site import open_browser
from tests.browser.test_whole_way import Walk
from tests.live.ground import Device
from tests.live.jumping import hide_behind
from tests.live.serving import Site

pytestmark = [pytest.mark.browser, pytest.mark.live, pytest.mark.slow]


@pytest.fixture
def site(live_ground: None, tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path / "home")
    yield site
    site.stop()


def paste(machine: Device, user: str, line: str, home: Path) -> None:
    """Run the line as the user would on the machine; the home is a folder of the test."""
    home.mkdir()
    subprocess.run(["sh", "-c", line], env={"HOME": str(home), "PATH": os.environ["PATH"]}, check=True)
    machine.authorize(user, (home / ".ssh" / "authorized_keys").read_text().strip())


def test_a_device_behind_a_jump_host_is_added(
    make_device: Callable[..., Device], site: Site, tmp_path: Path
) -> None:
    device, jump = make_device(), make_device()
    user = hide_behind(device, jump)
    errors: list[str] = []
    with open_browser(errors) as page:
        walk = Walk(page, site, device, tmp_path, errors)
        walk.set_up(site.start())
        page.goto(f"{site.origin}/devices/new/")
        page.get_by_label("Name").fill("db-01")
        page.get_by_label("Address").fill(device.address)
        expect(page.locator("#id_jump_address")).to_be_hidden()
        page.get_by_label("Reach it through a jump host").check()
        page.locator("#id_jump_address").fill(jump.address)
        walk.press("Add device")
        expect(page.get_by_text("Give the user of the jump host.").first).to_be_visible()
        walk.look("jump-new-error")
        page.locator("#id_jump_user").fill(user)
        walk.look("jump-new")
        walk.press("Add device")
        walk.look("jump-paste")
        paste(jump, user, page.locator("#jump-paste").inner_text(), tmp_path / "home-on-jump")
        paste(device, "root", page.locator("#paste").inner_text(), tmp_path / "home-on-device")
        walk.press("Fetch host key")
        expect(page.get_by_text(jump.host_keys[0].fingerprint).first).to_be_visible()
        expect(page.get_by_text("as soon as the jump host's is approved")).to_be_visible()
        walk.look("jump-hostkey")
        walk.press("Approve")
        expect(page.get_by_text(device.host_keys[0].fingerprint).first).to_be_visible()
        walk.look("jump-device-hostkey")
        page.locator(".host-key").filter(has_text=device.host_keys[0].fingerprint).get_by_role(
            "button", name="approve"
        ).first.click()
        expect(page.get_by_text("lets the console through")).to_be_visible()
        expect(page.get_by_text("The device can be backed up")).to_be_visible()
        walk.look("jump-connect")
    assert errors == []
