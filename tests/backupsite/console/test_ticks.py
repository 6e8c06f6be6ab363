from __future__ import annotations

import pytest

from backupsite.console.ticks import make_title


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("host-key", "Host key"),
        ("key", "Console's key"),
        ("restic", "restic"),
        ("database:postgresql", "Database: postgresql"),
        ("file-system:/srv/my-data", "File system: /srv/my-data"),
        ("file-system:/a\nb", "File system: /a\\nb"),
        ("", ""),
    ],
)
def test_a_name_becomes_words(name: str, title: str) -> None:
    assert make_title(name) == title
