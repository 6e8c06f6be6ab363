"""A name from a device cannot lie about itself on a page."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backupsite.web.visible import make_visible, shorten_middle


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain name.txt", "plain name.txt"),
        ("Grüße 日本語.pdf", "Grüße 日本語.pdf"),
        ("a\nb\tc", r"a\nb\tc"),
        ("red\x1b[31m", r"red\x1b[31m"),
        ("c1\x9b", r"c1\x9b"),
        ("invoice\u202efdp.exe", "invoice[U+202E]fdp.exe"),
        ("zero\u200bwidth", "zero[U+200B]width"),
        ("no\u00a0break", "no[U+00A0]break"),
        ("soft\u00adhyphen", "soft[U+00AD]hyphen"),
        ("line\u2028end", "line[U+2028]end"),
        ("\ufefffirst", "[U+FEFF]first"),
        (b"latin1 \xe9".decode("utf-8", "surrogateescape"), r"latin1 \xe9"),
        ("lone \ud800", "lone [U+D800]"),
        ("\U000e0041tag", "[U+E0041]tag"),
        ("", ""),
    ],
)
def test_hidden_characters_are_shown(raw: str, shown: str) -> None:
    assert make_visible(raw) == shown


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_whatever_comes_in_nothing_hidden_comes_out(raw: str) -> None:
    shown = make_visible(raw)
    shown.encode()  # would raise for a surrogate
    hidden = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    assert not [c for c in shown if unicodedata.category(c) in hidden]


def test_the_middle_is_cut_and_the_end_kept() -> None:
    assert shorten_middle("/srv/uploads/2026/11/invoice-8841.pdf", 20) == "/srv/up…ice-8841.pdf"
    assert shorten_middle("short", 20) == "short"


@given(st.text(), st.integers(3, 60))
def test_a_cut_text_is_never_too_long(text: str, length: int) -> None:
    assert len(shorten_middle(text, length)) <= length
