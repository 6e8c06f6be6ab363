"""SQLite's files come back, without what their old journals held. About 45 seconds on two cores."""

from __future__ import annotations

import shutil
from contextlib import closing, suppress

import pytest

from agents.errors import ComebackFailed, PlanRefused, RestoreTargetRefused
from agents.plan import SourceRequest
from tests.live.daemons import bring_back, stored_of
from tests.live.flows import Console, assert_device_is_clean
from tests.live.ground import wait_until
from tests.live.sqlite_file import connect, find_faults, make_database, writers
from tests.live.test_app_sqlite import console

__all__ = ["console"]


@pytest.mark.parametrize(
    ("journal", "method"), [("wal", "stream"), ("wal", "snapshot"), ("delete", "snapshot")]
)
@pytest.mark.parametrize("is_destroyed", [True, False], ids=["destroyed", "there"])
def test_a_file_comes_back(console: Console, journal: str, method: str, is_destroyed: bool) -> None:
    path = make_database(console.device, journal)
    with writers(path) as busy:
        least = {each.number: each.count for each in busy}
        source = SourceRequest(application="sqlite", instance=str(path), method=method)
        outcome = console.back_up(source)
        stored, known = stored_of(outcome, "sqlite", str(path))
        written = busy[0].count
        wait_until(lambda: busy[0].count > written + 10 or bool(busy[0].trouble), what="younger rows")
        # what a process that was killed leaves: its write-ahead log is played into whatever lies beside it
        left = {}
        for each in path.parent.glob("app.db*"):
            with suppress(FileNotFoundError):  # a journal comes and goes
                left[each.name] = each.read_bytes()
    for name, content in left.items():
        (path.parent / name).write_bytes(content)
        shutil.chown(path.parent / name, 65534, 65534)
    if is_destroyed:
        path.unlink()
    bring_back(console, stored, known)
    assert find_faults(path, least) == []
    with closing(connect(path)) as database:
        (count,) = database.execute("select max(n) from entry where writer = 0").fetchone()
        assert database.execute("pragma journal_mode").fetchone()[0] == journal
    assert count < written + 10, "what is younger is gone"
    facts = path.stat()
    assert (facts.st_uid, facts.st_gid) == (65534, 65534)
    assert (path.parent / "other").read_text() == "not asked for"
    assert not [each for each in path.parent.iterdir() if each.name.startswith(".")]
    assert_device_is_clean(console)


def test_a_file_that_somebody_has_open_is_not_pulled_away(console: Console) -> None:
    path = make_database(console.device, "wal")
    outcome = console.back_up(SourceRequest(application="sqlite", instance=str(path)))
    stored, known = stored_of(outcome, "sqlite", str(path))
    with writers(path) as busy:
        with pytest.raises(ComebackFailed) as caught:
            bring_back(console, stored, known)
        assert "open" in caught.value.detail
        with pytest.raises(PlanRefused) as refused:
            bring_back(console, stored, known, "no-such-service")
        assert "no-such-service: there is no such" in refused.value.message
        least = {each.number: each.count for each in busy}
    assert find_faults(path, least) == []
    assert_device_is_clean(console)


def test_what_a_power_cut_left_is_not_covered_by_the_next(console: Console) -> None:
    path = make_database(console.device, "delete")
    stored, known = stored_of(
        console.back_up(SourceRequest(application="sqlite", instance=str(path))), "sqlite", str(path)
    )
    left = path.parent / ".hotfleet-console-run-0"
    (left / "old").mkdir(parents=True)
    path.rename(left / "old" / path.name)
    with pytest.raises(RestoreTargetRefused) as caught:
        bring_back(console, stored, known)
    assert str(left / "old") in caught.value.message
    assert not path.exists() and (left / "old" / path.name).exists()
    (left / "old" / path.name).rename(path)
    bring_back(console, stored, known)
    assert_device_is_clean(console)
