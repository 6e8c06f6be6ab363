"""The pages of restores in a real browser: they ask for what the choice needs, and fit a phone."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from agents.restore import Conflict, Mode
from backupsite.recovery.folders import encode_path
from backupsite.recovery.forecasts import ask_forecast
from backupsite.recovery.models import RestoreForecast, RestorePoint
from backupsite.recovery.wishes import Wish
from backupsite.runs.models import Run
from backupsite.runs.states import State
from tests.backupsite.making import make_device, make_point
from tests.backupsite.recovery.test_restore_applications import make_stream
from tests.browser.test_cold_form import TOO_WIDE, Console, console, look, open_page

__all__ = ["console"]

pytestmark = [pytest.mark.browser, pytest.mark.django_db]
URL = "/devices/db-01/restore/"


def make_seen_point() -> RestorePoint:
    """A restore point whose restore to the original place was looked at."""
    now = timezone.now()
    device = make_device()
    for hours in (1, 15):
        make_point(device, None, now - timedelta(hours=hours), "/srv/uploads")
    paths = [encode_path("/srv/uploads")]
    point = make_point(device, None, now, "/srv/uploads", paths=paths)
    point.size_bytes, point.file_count = 11_600_000_000, 48_213
    point.save()
    wish = Wish(point, point.top_folder, (), None, Conflict.SKIP, Mode.MERGE, size_bytes=point.size_bytes)
    run = ask_forecast(wish, requested_by="ada")
    said = {
        "files": 48_213, "bytes": point.size_bytes, "existing": 214, "newer": 3, "seconds": 41.0,
        "newest_at": now.isoformat(), "newest_path": encode_path(f"/srv/uploads/{'long-name-' * 12}8841.pdf"),
        "free_bytes": 40_000_000_000, "refusal": "", "remedy": "",
    }  # fmt: skip
    RestoreForecast.objects.create(run=run, said=said)
    Run.objects.update(state=State.SUCCEEDED, ended_at=timezone.now())
    return point


def test_what_is_asked_follows_what_is_chosen(console: Console) -> None:
    make_seen_point()
    console.fetch(URL)
    with open_page(console, URL) as page:
        look(page, "restore")
        name, folder = page.get_by_label("Type db-01"), page.get_by_label("Folder on the device")
        assert not name.is_visible()
        assert not folder.is_visible()
        page.get_by_role("radio", name="Replace").check()
        assert name.is_visible()
        assert page.get_by_label("Back up db-01 first").is_checked()
        look(page, "restore-replace")
        page.get_by_role("radio", name="Skip").check()
        assert not name.is_visible()
        page.locator(".restore-to summary").click()
        page.get_by_label("Exactly as it was").check()
        assert name.is_visible()
        page.get_by_role("radio", name="Another folder").check()
        assert folder.is_visible()
        assert name.is_visible()
        page.get_by_role("radio", name="Download").check()
        for hidden in (name, folder, page.get_by_role("radio", name="Skip")):
            assert not hidden.is_visible()
        page.set_viewport_size({"width": 390, "height": 800})
        page.get_by_role("radio", name="Original place").check()
        assert page.evaluate(TOO_WIDE) == []
    assert console.errors == []


@pytest.mark.parametrize("way", ["In place", "Beside what runs"])
def test_an_application_asks_for_what_its_way_needs(console: Console, way: str) -> None:
    url = reverse("point-comeback", args=[make_stream().pk])
    console.fetch(url)
    with open_page(console, url) as page:
        page.get_by_role("radio", name=way).check()
        is_beside = way != "In place"
        assert page.get_by_label("New folder").is_visible() is is_beside
        assert page.get_by_label("Type db-01").is_visible() is not is_beside
        assert not page.get_by_label("Its new name").is_visible()
        button = page.locator("aside .button.primary:visible")
        assert button.inner_text() == ("Start it beside" if is_beside else "Replace PostgreSQL 15/main")
        assert ("danger" in str(button.get_attribute("class")).split()) is not is_beside
        look(page, f"comeback-{'beside' if is_beside else 'in-place'}")
        page.set_viewport_size({"width": 390, "height": 800})
        assert page.evaluate(TOO_WIDE) == []
    assert console.errors == []


def test_the_list_of_restores_fits_a_phone(console: Console) -> None:
    point = make_seen_point()
    wish = Wish(point, "/srv/uploads", ("a" * 200,), None, Conflict.REPLACE, Mode.MERGE).to_json()
    Run.objects.create(
        number=99, device=point.device, kind=Run.RESTORE, queued_at=timezone.now(), requested_by="ada",
        request={**wish, "safety": True}, state=State.SUCCEEDED,
    )  # fmt: skip
    saved = make_point(point.device, None, timezone.now(), "/srv/uploads/a", run=Run.objects.get(number=99))
    assert saved.run is not None
    for name, url in (("restores", "/restores/"), ("undo", "/restores/99/undo/"), ("run", "/runs/99/")):
        console.fetch(url)
        with open_page(console, url) as page:
            look(page, f"restores-{name}")
            page.set_viewport_size({"width": 390, "height": 800})
            assert page.evaluate(TOO_WIDE) == []
    assert console.errors == []
