"""Files that were destroyed come back to their place through the browser, and the restore is undone."""

from __future__ import annotations

import re
import shutil

import pytest
from playwright.sync_api import expect

from tests.browser.test_whole_way import Walk, walk
from tests.live.flows import picture_of

__all__ = ["walk"]

pytestmark = [pytest.mark.browser, pytest.mark.live, pytest.mark.slow]
PATIENCE_MS = 180_000


def test_destroyed_files_come_back_and_the_restore_is_undone(walk: Walk) -> None:
    walk.add_device()
    walk.write_policy()
    walk.watch_backup()
    before = picture_of(walk.source)
    destroy(walk)
    destroyed = picture_of(walk.source)
    assert destroyed != before

    replace_everything(walk)
    restored = picture_of(walk.source)
    assert {path: each for path, each in restored.items() if path in before} == before
    assert len(restored) == len(before) + 1  # what came since stays

    undo(walk)
    assert picture_of(walk.source) == destroyed


def destroy(walk: Walk) -> None:
    shutil.rmtree(walk.source / "letters")
    (walk.source / "photo.raw").write_bytes(b"somebody overwrote it")
    (walk.source / "link").unlink()
    (walk.source / "since.txt").write_text("written after the backup")


def replace_everything(walk: Walk) -> None:
    page = walk.page
    page.goto(f"{walk.site.origin}/devices/db-01/restore/")
    expect(page.get_by_role("radio", name="Original place")).to_be_checked()
    outcome = page.locator("#restore-outcome")
    # The look starts by itself.
    expect(outcome.get_by_text("2 files exist there")).to_be_visible(timeout=PATIENCE_MS)
    expect(outcome.get_by_text("1 changed after that moment")).to_be_visible()
    walk.look("restore-original")
    name = page.get_by_label("Type db-01 to replace its files")
    expect(name).not_to_be_visible()
    page.get_by_role("radio", name="Replace").check()
    expect(name).to_be_visible()
    act = outcome.get_by_role("button", name=re.compile("^Replace 2 files, add 201 on db-01$"))
    expect(act).to_be_visible()
    name.fill("db-1")
    walk.look("restore-replace")
    act.click()
    expect(page.get_by_role("link", name="Name of the device")).to_be_visible()
    expect(page.get_by_label("Back up db-01 first")).to_be_checked()
    walk.look("restore-errors")
    name.fill("db-01")
    outcome.get_by_role("button", name=re.compile("^Replace ")).click()
    expect(page.get_by_text("Succeeded").first).to_be_visible(timeout=PATIENCE_MS)
    walk.look("run-restore-replaced")


def undo(walk: Walk) -> None:
    page = walk.page
    page.get_by_role("link", name="Undo this restore…").click()
    page.get_by_label("Type db-01 to replace its files").fill("db-01")
    walk.look("restore-undo")
    walk.press("Undo this restore")
    expect(page.get_by_text("The restore was undone")).to_be_visible(timeout=PATIENCE_MS)
    walk.look("run-restore-undone")
