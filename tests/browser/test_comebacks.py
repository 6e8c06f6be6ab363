"""Each application comes back through the browser after its data was destroyed under its writers.

One about 15 seconds on two cores; HOTFLEET_CAMPAIGN=full runs all of them, about 5 minutes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from agents.applications import applications
from tests.browser.site import open_browser
from tests.live import mariadb
from tests.live.disasters import RUN, Application
from tests.live.ground import Device
from tests.live.site import Enrolled, LiveSite, run_site

pytestmark = [pytest.mark.browser, pytest.mark.live, pytest.mark.slow]
PASSWORD = "correct horse battery"
PATIENCE_MS = 300_000
CASES = [
    ("postgresql", "snapshot"),
    ("postgresql", "stream"),
    ("postgresql", "copy"),
    ("mariadb", "snapshot"),
    ("mariadb", "stream"),
    ("redis", "snapshot"),
    ("redis", "stream"),
    ("openldap", "snapshot"),
    ("openldap", "stream"),
    ("etcd", "snapshot"),
    ("etcd", "stream"),
    ("sqlite", "snapshot"),
]


@pytest.fixture(scope="module")
def site(live_ground: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSite]:
    with run_site(tmp_path_factory.mktemp("console") / "home") as site:
        site.do("add_person", name="ada", password=PASSWORD)
        yield site


@pytest.fixture
def page(site: LiveSite) -> Iterator[Page]:
    """A browser in which a person signed in. What went wrong in it fails the test."""
    errors: list[str] = []
    with open_browser(errors) as page:
        page.goto(f"{site.origin}/login/")
        page.get_by_label("Name").fill("ada")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("heading", name="Sign in")).not_to_be_visible()
        yield page
    assert errors == []


def test_a_destroyed_sqlite_file_comes_back(
    site: LiveSite, page: Page, make_device: Callable[..., Device], tmp_path: Path
) -> None:
    come_back(site, page, make_device(), tmp_path, "sqlite", "stream")


@pytest.mark.full
@pytest.mark.parametrize(("name", "method"), CASES)
def test_a_destroyed_application_comes_back(
    site: LiveSite, page: Page, make_device: Callable[..., Device], tmp_path: Path, name: str, method: str
) -> None:
    come_back(site, page, make_device(), tmp_path, name, method)


def come_back(site: LiveSite, page: Page, device: Device, folder: Path, name: str, method: str) -> None:
    enrolled = Enrolled(site, device, f"{name}-{method}")
    enrolled.pin()
    with RUN[name](device, folder / "state", method) as application:
        protect(enrolled, application.name, application.instance, method)
        before = left_in(application.folder)
        with application.busy():
            back_up(page, enrolled)
        application.add()
        application.destroy()
        check(page, enrolled)
        restore(page, enrolled, application)
        assert application.find_faults() == []
        assert set(left_in(application.folder)) <= set(before), "nothing of ours is left beside its data"
        application.stop()
        enrolled.wait_until_clean()


def protect(enrolled: Enrolled, name: str, instance: Path, method: str) -> None:
    """A device has files too: what comes back is one of several things."""
    sources = [
        {"path": str(enrolled.device.directory / "keys"), "if_hot_impossible": "accept-live"},
        {"application": name, "instance": str(instance), "method": method},
    ]
    fields = {"schedule": "manual", "every_minutes": 60}
    enrolled.site.do("set_sources", device=enrolled.slug, sources=sources, fields=fields)


def left_in(folder: Path) -> list[str]:
    """What lies there."""
    return sorted(each.name for each in folder.iterdir()) if folder.exists() else []


def back_up(page: Page, enrolled: Enrolled) -> None:
    page.goto(f"{enrolled.site.origin}/devices/{enrolled.slug}/")
    page.get_by_role("button", name="Back up now").click()
    expect(page.get_by_text("Succeeded").first).to_be_visible(timeout=PATIENCE_MS)


def check(page: Page, enrolled: Enrolled) -> None:
    """The person looks first whether the device is still there. What is gone is not seen by that."""
    page.goto(f"{enrolled.site.origin}/devices/{enrolled.slug}/connect/")
    page.get_by_role("button", name="Check").click()
    expect(page.get_by_text("The device can be backed up")).to_be_visible(timeout=PATIENCE_MS)


def restore(page: Page, enrolled: Enrolled, application: Application) -> None:
    open_comeback(page, enrolled, application.name)
    expect(page.get_by_role("radio", name="In place")).to_be_checked()
    services = page.get_by_label("Services that stop meanwhile")
    services.fill(application.service)
    name = page.get_by_label(f"Type {enrolled.slug} to replace its data")
    name.fill("another")
    act = page.get_by_role("button", name="Replace ")
    act.click()
    expect(page.get_by_role("link", name="Name of the device")).to_be_visible()
    expect(services).to_have_value(application.service)
    name.fill(enrolled.slug)
    act.click()
    expect(page.get_by_text("Succeeded").first).to_be_visible(timeout=PATIENCE_MS)
    expect(page.get_by_text("The application is back")).to_be_visible()


def open_comeback(page: Page, enrolled: Enrolled, name: str) -> None:
    """From the device to the page on which its application comes back."""
    page.goto(f"{enrolled.site.origin}/devices/{enrolled.slug}/")
    page.locator("main").get_by_role("link", name="Restore…").first.click()
    page.get_by_role("link", name=re.compile(f"^Restore {applications()[name].label} ")).click()


@pytest.mark.full
def test_a_database_of_mariadb_that_was_dropped_comes_back_out_of_a_dump(
    site: LiveSite, page: Page, make_device: Callable[..., Device], tmp_path: Path
) -> None:
    device = make_device()
    enrolled = Enrolled(site, device, "dropped")
    enrolled.pin()
    home = device.btrfs / "my sql"
    home.mkdir()
    name = f"hotfleet-my-{device.name}"
    with mariadb.Service(home, tmp_path / "state", name).create() as service:
        protect(enrolled, "mariadb", service.data, "dump")
        with mariadb.writers(service, engines=("InnoDB",)) as busy:
            least = {each.number: each.count for each in busy}
            back_up(page, enrolled)
        service.sql("drop database app")
        check(page, enrolled)
        open_comeback(page, enrolled, "mariadb")
        expect(page.get_by_role("radio", name="One database")).to_be_checked()
        expect(page.get_by_label("Only this table")).not_to_be_attached()
        page.get_by_label("Database", exact=True).select_option("app")
        page.get_by_label("Its new name").fill("app")
        page.get_by_role("button", name="Restore this database").click()
        expect(page.get_by_text("Succeeded").first).to_be_visible(timeout=PATIENCE_MS)
        assert service.sql("select sum(balance) from app.account") == "20000"
        for writer, written in least.items():
            query = f"select count(*), max(n) from app.InnoDB where writer = {writer}"
            count, highest = map(int, service.sql(query).split())
            assert count == highest >= written
        service.stop()
        enrolled.wait_until_clean()
