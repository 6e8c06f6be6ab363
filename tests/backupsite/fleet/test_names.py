from __future__ import annotations

import pytest

from backupsite.fleet.names import clean_name, make_slug
from tests.backupsite.hostile import GENERIC


@pytest.mark.parametrize(
    ("typed", "stored"),
    [("db-01", "db-01"), ("  web 1 ", "web 1"), ("cafe\u0301", "café"), ("Büro 7", "Büro 7")],
)
def test_a_plain_name_is_trimmed_and_normalised(typed: str, stored: str) -> None:
    assert clean_name(typed) == stored


@pytest.mark.parametrize("typed", [*GENERIC, "=1+1", "-x", "<b>", "@a"])
def test_it_refuses_names_that_lie_or_run(typed: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        clean_name(typed)


def test_a_slug_is_free_and_never_a_page_of_its_own() -> None:
    assert make_slug("DB 01", {"db-01"}, fallback="device") == "db-01-2"
    assert make_slug("new", (), fallback="device") == "new-2"
    assert make_slug("preview", (), fallback="policy") == "preview-2"
    assert make_slug("日本", {"device"}, fallback="device") == "device-2"
