"""The colours are readable: measured by number in both themes; a browser check cannot judge SVG text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

CSS = Path(__file__).resolve().parent.parent / "static" / "css"
TOKEN = re.compile(r"--([a-z-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\);")
TOKENS = {name: (light, dark) for name, light, dark in TOKEN.findall((CSS / "tokens.css").read_text())}
GROUNDS = ("ground", "sunken", "surface", "raised", "hover")
TONES = ("accent", "good", "warn", "bad", "frost")

TEXT_PAIRS = [
    *((text, ground) for text in ("text", "text-soft", "text-faint") for ground in GROUNDS),
    *((tone, ground) for tone in (*TONES, "ember") for ground in GROUNDS),
    *((tone, f"{tone}-soft") for tone in TONES),
    *((text, f"{tone}-soft") for tone in TONES for text in ("text", "text-soft")),
    ("on-accent", "accent-fill"),
    ("on-accent", "accent-fill-hover"),
    ("on-bad", "bad-fill"),
    ("on-bad", "bad-fill-hover"),
]
MARK_PAIRS = [
    *((f"{tone}-mark", ground) for tone in (*TONES, "ember") for ground in ("surface", "ground")),
    *(("line-strong", ground) for ground in ("surface", "raised", "ground")),
    *(("focus", ground) for ground in GROUNDS),
    ("accent-fill", "surface"),
    ("bad-fill", "surface"),
]


def luminance(colour: str) -> float:
    """Given #rrggbb, return the relative luminance (WCAG 2.2)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Given two colours, return their contrast, 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_measure_agrees_with_known_values() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("front", "back"), TEXT_PAIRS)
def test_text_is_readable(front: str, back: str, theme: int) -> None:
    assert contrast(TOKENS[front][theme], TOKENS[back][theme]) >= 4.5


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("front", "back"), MARK_PAIRS)
def test_marks_are_visible(front: str, back: str, theme: int) -> None:
    assert contrast(TOKENS[front][theme], TOKENS[back][theme]) >= 3


def test_colours_stand_only_in_the_tokens() -> None:
    for sheet in CSS.glob("*.css"):
        if sheet.name != "tokens.css":
            text = re.sub(r"/\*.*?\*/", "", sheet.read_text(), flags=re.DOTALL)
            assert not re.findall(r"#[0-9a-fA-F]{3,8}\b(?![^{]*\{)|\brgba?\(|\bhsla?\(|\boklch\(", text), (
                sheet.name
            )


def test_every_custom_property_that_is_used_is_defined() -> None:
    defined: set[str] = set()
    used: dict[str, str] = {}
    for sheet in CSS.glob("*.css"):
        text = sheet.read_text()
        defined |= set(re.findall(r"(--[a-z0-9-]+)\s*:", text))
        used |= dict.fromkeys(re.findall(r"var\((--[a-z0-9-]+)", text), sheet.name)
    assert {name: sheet for name, sheet in used.items() if name not in defined} == {}
