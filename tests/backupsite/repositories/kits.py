"""Reading a recovery kit as a person does."""

from __future__ import annotations

import re


def read_password(text: str) -> str:
    """Given a kit, return its password."""
    found = re.search(r"^    ([A-Z2-7]{5}(?:-[A-Z2-7]{5}){7})$", text, re.MULTILINE)
    assert found is not None
    return found[1]
