from __future__ import annotations

import pytest

from backupsite.policies.paths import check_excludes, check_path
from tests.backupsite.hostile import PATHS


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("/", "/"),
        ("//", "/"),
        ("/srv/", "/srv"),
        ("//srv//www/.", "/srv/www"),
        (" /srv/my files ", "/srv/my files"),
        ("/srv/;id", "/srv/;id"),
        ("/srv/$(touch x)", "/srv/$(touch x)"),
        ("/srv/-rf", "/srv/-rf"),
        ("/srv/...", "/srv/..."),
        ("/development", "/development"),
        ("/srv/日本", "/srv/日本"),
    ],
)
def test_a_path_is_taken_as_it_is(typed: str, stored: str) -> None:
    assert check_path(typed) == stored


@pytest.mark.parametrize("typed", PATHS)
def test_it_refuses(typed: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        check_path(typed)


def test_excludes_lose_only_empty_lines() -> None:
    assert check_excludes("*.tmp\r\n\r\n  /srv/cache \n") == "*.tmp\n/srv/cache"
    assert check_excludes("") == ""


@pytest.mark.parametrize("typed", ["*", "/", "**", "a\x00b", "x\u202ey", "a" * 1025, "\n".join("abc" * 100)])
def test_it_refuses_excludes_that_leave_out_everything_or_cannot_be_seen(typed: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        check_excludes(typed)
