"""A service moves from one device to another one: its history stays in one piece. About 40 s on two cores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live.flows import picture_of
from tests.live.ground import Device
from tests.live.site import Enrolled, LiveSite, run_site

pytestmark = [pytest.mark.slow, pytest.mark.full]


def test_a_service_moves_and_its_restore_points_stay(
    make_device: Callable[..., Device], tmp_path: Path
) -> None:
    # Both devices see the files of this machine: where the service is not, its folder is empty meanwhile.
    first, second = make_device(), make_device()
    data, away = first.btrfs / "service", first.btrfs / "away"
    data.mkdir()
    (data / "rows").write_text("as it was on the first device")
    with run_site(tmp_path / "home") as site:
        one, two = site.enrol(first, data), site.enrol(second, data)
        site.do("share", device=one.slug, other=two.slug)
        assert set(standings(site).values()) == {NEVER}

        one.back_up()
        leave(data, away)
        assert "is shared and left out here" in said(site, two)
        assert (len(one.points()), len(two.points())) == (1, 0)
        assert NEVER not in standings(site).values(), "what the first one stored is the service's"

        come_back(data, away)
        (data / "rows").write_text("as it is on the second device")
        now = picture_of(data)
        two.back_up()
        leave(data, away)
        assert "is empty here" in said(site, one)
        assert (len(one.points()), len(two.points())) == (1, 1)
        newest = site.rows("SELECT newest_at FROM recovery_exposure")
        assert {row["newest_at"] for row in newest} == {two.points()[0]["made_at"]}

        target = first.btrfs / "restored"
        run = site.do("ask_elsewhere", point=two.points()[0]["id"], device=one.slug, target=str(target))
        site.wait_for_state(run, "succeeded")
        assert picture_of(target) == now, "of the second device, onto the first one"
        for each in (one, two):
            each.wait_until_clean()


NEVER = 6  # of recovery.exposure.Standing; what this machine holds is undecided else


def standings(site: LiveSite) -> dict[int, int]:
    return {row["device_id"]: row["base"] for row in site.rows("SELECT * FROM recovery_exposure")}


def leave(data: Path, away: Path) -> None:
    data.rename(away)
    data.mkdir()


def come_back(data: Path, away: Path) -> None:
    data.rmdir()
    away.rename(data)


def said(site: LiveSite, enrolled: Enrolled) -> str:
    """Back up, well, and return what the run said."""
    run = enrolled.back_up()
    lines = site.rows("SELECT text FROM runs_runline WHERE run_id = ?", run["id"])
    return "\n".join(line["text"] for line in lines)
