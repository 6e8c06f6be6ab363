"""The directories in which restic sees a repository: gone when they are not used any more, whatever died."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from agents.restic.views import make_view

_HOLDER = """
import sys, time
from agents.restic.views import make_view
with make_view() as view:
    (view / "keys").mkdir()
    print(view, flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)


def test_a_view_is_private_and_goes_with_its_context(tmp_path: Path) -> None:
    with make_view() as view:
        assert view.parent == tmp_path
        assert view.stat().st_mode & 0o777 == 0o700
        (view / "config").symlink_to("/nowhere")
    assert list(tmp_path.iterdir()) == []


def test_the_view_of_a_killed_process_is_removed_and_a_held_one_stays(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_text("stays")
    (tmp_path / "hotfleet-view-link").symlink_to(victim)
    with subprocess.Popen([sys.executable, "-c", _HOLDER], stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            theirs = Path(holder.stdout.readline().strip())
            (theirs / "data").symlink_to(victim)
            with make_view():
                assert theirs.exists()
        finally:
            holder.kill()
    with make_view():
        assert not theirs.exists()
    assert (victim / "file").read_text() == "stays"


_MAKER = """
from agents.restic.views import make_view
for _ in range(200):
    with make_view() as view:
        (view / "keys").mkdir()
"""


def test_many_at_once_do_not_take_each_others_views() -> None:
    makers = [subprocess.Popen([sys.executable, "-c", _MAKER]) for _ in range(6)]
    assert [maker.wait() for maker in makers] == [0] * 6
