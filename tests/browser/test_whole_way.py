"""The first ten minutes of a new user, in a real browser, against a real device: set-up to restored files."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.site import open_browser
from tests.live.flows import picture_of
from tests.live.ground import Device
from tests.live.machine import wait_until
from tests.live.serving import Site

pytestmark = [pytest.mark.browser, pytest.mark.live, pytest.mark.slow]
PASSWORD = "correct horse battery"
# Where pictures of each page go, for a person to look at.
PICTURES = os.environ.get("HOTFLEET_PICTURES", "")


class Walk:
    """One walk through the console. Each step is what a person does on one page."""

    def __init__(self, page: Page, site: Site, device: Device, folder: Path, errors: list[str]) -> None:
        self.page = page
        self.site = site
        self.device = device
        self.folder = folder
        self.errors = errors
        self.source = device.btrfs / "data"

    def look(self, name: str) -> None:
        """Save pictures of the page: light and dark, wide and narrow."""
        if not PICTURES:
            return
        for scheme in ("light", "dark"):
            for width in (1440, 390):
                self.page.set_viewport_size({"width": width, "height": 1000})
                self.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
                self.page.wait_for_timeout(300)  # colours fade
                self.page.screenshot(path=f"{PICTURES}/{name}-{scheme}-{width}.png", full_page=True)
        self.page.set_viewport_size({"width": 1440, "height": 1000})
        self.page.emulate_media(color_scheme="light")

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name).first.click()

    def set_up(self, address: str) -> None:
        page = self.page
        page.goto(address)
        page.get_by_label("Name").fill("ada")
        page.get_by_label("Password").fill(PASSWORD)
        self.look("setup-admin")
        self.press("Create administrator")
        page.get_by_role("radio", name="Another directory").check()
        directory = self.device.directory / "repositories"
        page.get_by_role("textbox", name="Another directory").fill(str(directory))
        self.look("setup-storage")
        self.press("Test and use it")
        with page.expect_download() as download:
            self.press("Download the recovery kit")
        kit = Path(download.value.path()).read_text()
        found = re.search(r"(?:[A-Z2-7]{5}-){7}[A-Z2-7]{5}", kit)
        assert found is not None, kit
        page.reload()
        self.look("setup-kit")
        page.locator("input[name=ending]").fill(found[0][-4:])
        self.press("Finish")

    def add_device(self) -> None:
        page = self.page
        page.get_by_label("Name").fill("db-01")
        page.get_by_label("Address").fill(self.device.address)
        self.look("device-new")
        self.press("Add device")
        line = page.locator("#paste").inner_text()
        self.paste_on_device(line)
        self.press("Fetch host key")
        expect(page.get_by_text(self.device.host_keys[0].fingerprint).first).to_be_visible()
        self.look("device-hostkey")
        self.press("Approve")
        expect(page.get_by_text("The device can be backed up")).to_be_visible()
        self.look("device-connect")

    def paste_on_device(self, line: str) -> None:
        """Run the line as a person would on the device; its home is a folder of the test."""
        home = self.folder / "home-on-device"
        home.mkdir()
        subprocess.run(["sh", "-c", line], env={"HOME": str(home), "PATH": os.environ["PATH"]}, check=True)
        self.device.authorize("root", (home / ".ssh" / "authorized_keys").read_text().strip())

    def write_policy(self) -> None:
        page = self.page
        page.get_by_role("link", name="Write a policy").click()
        page.locator("#id_name").fill("db hourly")
        path = page.locator(".source-path input").first
        path.fill("data")
        self.press("Save and back up now")
        expect(page.get_by_text("Give the whole path from the root").first).to_be_visible()
        assert page.locator("#id_name").input_value() == "db hourly"
        self.look("policy-errors")
        path = page.locator(".source-path input").first
        path.fill(str(self.source))
        expect(page.get_by_text("Next times")).to_be_visible()
        self.look("policy")
        self.press("Save and back up now")

    def watch_backup(self) -> None:
        page = self.page
        expect(page.get_by_role("heading", name="Backing up db-01")).to_be_visible()
        page.context.set_offline(True)  # the socket is cut; the run goes on
        page.wait_for_timeout(1500)
        page.context.set_offline(False)
        # What the page could not fetch meanwhile is no fault of its own.
        self.errors[:] = [each for each in self.errors if not each.startswith(("htmx:", "WebSocket"))]
        expect(page.get_by_text("Succeeded").first).to_be_visible(timeout=180_000)
        self.look("run-backup")

    def decide(self) -> None:
        """Leave out whatever else was found: the file systems of the machine, and the databases of tests that
        run beside this one. Facts change with a backup only, so this ends."""
        page = self.page
        page.goto(f"{self.site.origin}/devices/db-01/")
        undecided = page.locator("section", has=page.locator("#undecided"))
        expect(undecided).to_be_visible()
        expect(page.get_by_text("Data undecided").first).to_be_visible()
        self.look("device-undecided")
        page.goto(f"{self.site.origin}/policies/db-hourly/?path=/&mode=out")
        self.press_save()
        page.goto(f"{self.site.origin}/devices/db-01/")
        for _ in range(undecided.locator("li").count()):
            undecided.get_by_role("link", name="Leave out").first.click()
            self.press_save()
            page.goto(f"{self.site.origin}/devices/db-01/")
        expect(undecided).to_have_count(0)

    def press_save(self) -> None:
        self.page.get_by_role("button", name="Save", exact=True).last.click()
        expect(self.page.get_by_role("heading", name="Policies").first).to_be_visible()

    def see_device(self) -> None:
        page = self.page
        pages = (
            ("fleet", "/", "Nothing needs you now."),
            ("devices", "/devices/", "Within RPO"),
            ("device", "/devices/db-01/", "Within RPO"),
        )
        for name, path, words in pages:
            page.goto(f"{self.site.origin}{path}")
            expect(page.locator("main").get_by_text(words).locator("visible=true").first).to_be_visible()
            self.look(name)

    def check_pages(self) -> None:
        for path in (
            "/runs/",
            "/points/",
            "/policies/",
            "/repositories/",
            "/settings/me/",
            "/settings/notify/",
        ):
            answer = self.page.goto(f"{self.site.origin}{path}")
            assert answer is not None
            assert answer.status == 200, path
            self.look(path.strip("/").replace("/", "-"))


@pytest.fixture
def walk(make_device: Callable[..., Device], tmp_path: Path) -> Iterator[Walk]:
    device = make_device()
    site = Site(tmp_path / "home")
    errors: list[str] = []
    try:
        address = site.start()
        with open_browser(errors) as page:
            walk = Walk(page, site, device, tmp_path, errors)
            _fill(walk.source)
            walk.set_up(address)
            yield walk
        assert errors == []
    finally:
        site.stop()


def _fill(source: Path) -> None:
    (source / "letters").mkdir(parents=True)
    for number in range(200):
        (source / "letters" / f"letter-{number:03}.txt").write_text(f"letter {number}\n")
    (source / "photo.raw").write_bytes(os.urandom(40_000_000))
    (source / '<b onclick=alert(1)>bold\n"name').write_text("a hostile name")
    (source / "link").symlink_to("letters/letter-001.txt")


def test_from_the_first_start_to_restored_files(walk: Walk) -> None:
    walk.add_device()
    walk.write_policy()
    walk.watch_backup()
    walk.decide()
    walk.see_device()
    _restore(walk)
    _download(walk)
    walk.check_pages()


def _restore(walk: Walk) -> None:
    """Restore everything into another folder, by the button of the device."""
    page = walk.page
    target = Path("/var/lib") / f"restored-{walk.device.name}"
    page.goto(f"{walk.site.origin}/devices/db-01/")
    page.locator("main").get_by_role("link", name="Restore…").first.click()
    page.get_by_role("radio", name="Another folder").check()
    page.get_by_label("Folder on the device").fill(str(target))
    walk.look("restore")
    try:
        page.get_by_role("button", name=re.compile(r"^Restore \d+ files$")).click()
        expect(page.get_by_text("Succeeded").first).to_be_visible(timeout=180_000)
        walk.look("run-restore")
        assert picture_of(target) == picture_of(walk.source)
    finally:
        subprocess.run(["rm", "-rf", str(target)], check=True)


def _download(walk: Walk) -> None:
    """Look into the restore point and take one file out of it."""
    page = walk.page
    page.goto(f"{walk.site.origin}/devices/db-01/points/")
    walk.look("device-points")
    page.locator("main").get_by_role("link", name=str(walk.source)).first.click()
    letters = page.get_by_role("link", name="letters", exact=True)
    wait_until(lambda: bool(page.reload()) and letters.is_visible(), timeout_s=60, what="the list of paths")
    expect(page.get_by_text(r"<b onclick=alert(1)>bold\n").first).to_be_visible()
    walk.look("point")
    letters.click()
    expect(page.get_by_text("letter-007.txt").first).to_be_visible()
    walk.press("Download letter-007.txt")
    link = page.get_by_role("link", name="Download")
    expect(link).to_be_visible()
    walk.look("download")
    with page.expect_download() as download:
        link.click()
    assert Path(download.value.path()).read_text() == "letter 7\n"
    assert download.value.suggested_filename == "letter-007.txt"
