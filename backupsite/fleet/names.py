"""How a device may be called, and what its part of an address is. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Container

from django.utils.text import slugify

# Addresses of pages under /devices/ and /policies/ that no device and no policy may take.
RESERVED_SLUGS = frozenset({"export", "import", "new", "preview"})


def clean_name(text: str, *, longest: int = 64) -> str:
    """Given a name that a person typed, return it trimmed and in one Unicode form (NFC).

    Raise ValueError with one sentence when it is empty, too long, does not begin with a letter or a digit,
    or holds characters that cannot be seen.
    """
    name = unicodedata.normalize("NFC", text.strip(" "))
    if not name:
        raise ValueError("Give it a name.")
    if len(name) > longest:
        raise ValueError(f"At most {longest} characters; this has {len(name)}.")
    if not name.isprintable():
        raise ValueError("The name holds a character that cannot be seen. Type it again by hand.")
    # "=1+1" is a formula where a list is opened in a spreadsheet, "-x" an option where a name becomes a word.
    if not name[0].isalnum():
        raise ValueError("Begin the name with a letter or a digit.")
    return name


def make_slug(name: str, taken: Container[str], *, fallback: str) -> str:
    """Given a name and the slugs in use, return a free one ("db-01", "db-01-2")."""
    stem = slugify(name)[:70] or fallback
    slug, number = stem, 1
    while slug in taken or slug in RESERVED_SLUGS:
        number += 1
        slug = f"{stem}-{number}"
    return slug
