"""A policy from a template to its file and back, in a real browser, with a device that joins by its tag."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.test_whole_way import Walk, walk

__all__ = ["walk"]
pytestmark = [pytest.mark.browser, pytest.mark.live, pytest.mark.slow]


def test_a_policy_is_made_kept_to_paused_and_goes_to_a_file_and_back(walk: Walk) -> None:
    (walk.source / "photo.raw").unlink()  # the letters are enough here
    walk.add_device()
    _write_by_template(walk)
    _set_retention(walk)
    _join_by_tag(walk)
    _back_up(walk)
    _see_what_stays(walk)
    _pause(walk)
    _export_and_import(walk)


def _write_by_template(walk: Walk) -> None:
    page = walk.page
    page.goto(f"{walk.site.origin}/policies/")
    page.locator("main").get_by_role("link", name="New policy").click()
    page.get_by_role("link", name="Home directories").click()
    page.locator("#id_name").fill("homes")
    while page.locator("[data-rows] [data-row-remove]").count() > 1:
        page.locator("[data-rows] [data-row-remove]").last.click()
    page.locator("[name='sources-0-path']").fill(str(walk.source))
    page.get_by_label("Devices with these tags").fill("Web")
    preview = page.locator("#policy-preview")
    expect(preview).to_contain_text("No device is chosen")
    expect(preview).to_contain_text("1 hot: nothing is stopped for")
    expect(preview).to_contain_text("This meets a target of 4 h 25 min")
    walk.look("policy-template")
    page.get_by_role("button", name="Save", exact=True).last.click()
    expect(page.get_by_text("The policy homes was saved.")).to_be_visible()


def _set_retention(walk: Walk) -> None:
    page = walk.page
    page.locator("main").get_by_role("link", name="homes").click()
    page.get_by_role("link", name="Retention").click()
    page.get_by_label("The last").fill("0")
    for name in ("Hourly", "Daily", "Weekly", "Monthly", "Yearly"):
        page.get_by_label(name).fill("0")
    page.get_by_label("Nothing goes that is younger than").fill("soon")
    walk.press("Save")
    expect(page.get_by_text("Not saved yet").first).to_be_visible()
    expect(page.get_by_label("Nothing goes that is younger than")).to_have_value("soon")
    page.get_by_label("Nothing goes that is younger than").fill("1 d")
    page.get_by_label("Hourly").fill("5")
    walk.press("Show what it means")
    expect(page.get_by_text("Nothing is removed now")).to_be_visible()
    walk.look("policy-retention")
    walk.press("Save")
    expect(page.get_by_text("The rules are saved.")).to_be_visible()


def _join_by_tag(walk: Walk) -> None:
    page = walk.page
    page.goto(f"{walk.site.origin}/devices/db-01/edit/")
    page.get_by_label("Tags").fill("web, hamburg")
    walk.press("Save")
    page.goto(f"{walk.site.origin}/policies/homes/")
    expect(page.locator("#policy-preview")).to_contain_text("1 device")
    expect(page.locator("#policy-preview")).to_contain_text("Nothing is changed yet.")


def _back_up(walk: Walk) -> None:
    walk.press("Save and back up now")
    expect(walk.page.get_by_role("heading", name="Backing up db-01")).to_be_visible()
    expect(walk.page.get_by_text("Succeeded").first).to_be_visible(timeout=180_000)


def _see_what_stays(walk: Walk) -> None:
    page = walk.page
    page.goto(f"{walk.site.origin}/devices/db-01/points/")
    page.get_by_role("link", name="What stays").click()
    row = page.locator("tbody tr").filter(has_text=str(walk.source)).first
    expect(row).to_contain_text("the newest good one")
    walk.look("device-retention")


def _pause(walk: Walk) -> None:
    page = walk.page
    page.goto(f"{walk.site.origin}/policies/homes/")
    page.get_by_role("link", name="Pause…").click()
    page.get_by_role("radio", name="Until", exact=True).check(force=True)
    page.get_by_label("Date and time").fill("2001-01-01 10:00")
    page.get_by_label("Reason").fill("moving to rack 7")
    walk.press("Pause")
    expect(page.get_by_text("Not saved yet").first).to_be_visible()
    expect(page.get_by_label("Reason")).to_have_value("moving to rack 7")
    page.get_by_role("radio", name="1 hour").check(force=True)
    walk.press("Pause")
    expect(page.get_by_text("moving to rack 7").first).to_be_visible()
    walk.look("policy-paused")
    walk.press("Go on now")
    expect(page.get_by_text("What was due is made up for by one run each.")).to_be_visible()


def _export_and_import(walk: Walk) -> None:
    page = walk.page
    page.goto(f"{walk.site.origin}/policies/")
    with page.expect_download() as download:
        page.get_by_role("link", name="Export").click()
    file = walk.folder / "policies.yaml"
    file.write_bytes(Path(download.value.path()).read_bytes())
    assert "name: homes" in file.read_text()
    page.get_by_role("link", name="Import").click()
    page.get_by_label("A YAML file").set_input_files(file)
    walk.press("Show what would change")
    expect(page.get_by_text("Nothing changes").first).to_be_visible()
    walk.look("policies-import")
    # A line that is wrong is said with its number, and nothing is stored.
    page.get_by_label("Or its text").fill(file.read_text() + "- name: [no name]\n")
    walk.press("Show what would change")
    line = len(file.read_text().splitlines()) + 1
    expect(page.locator("main")).to_contain_text(f"Line {line}")
    expect(page.get_by_label("Or its text")).to_have_value(re.compile("no name"))
