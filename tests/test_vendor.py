"""What the pages load: all from our own origin, nothing inline, and vendored files are what they claim."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
STATIC, TEMPLATES = ROOT / "static", ROOT / "templates"
OURS = sorted(
    p
    for d in (STATIC / "css", STATIC / "js", STATIC / "icons", TEMPLATES)
    for p in d.rglob("*")
    if p.suffix in {".css", ".js", ".svg", ".html", ".txt"} and p.is_file()
)
PAGES = [p for p in OURS if p.suffix == ".html"]

# pattern -> why it must not be there
FORBIDDEN = {
    r"""(?:src|href|action|url\(|@import|from)\s*[=(]?\s*["']?(?:https?:)?//[a-z0-9]""": "another host",
    r"\sstyle\s*=": "an inline style",
    r"<style\b": "an inline style sheet",
    r"<script\b(?![^>]*\bsrc=)": "an inline script",
    r"\son[a-z]+\s*=\s*[\"']": "an inline event handler",
    r"\bhx-on\b": "hx-on is evaluated code",
    r"""\bhx-(?:vals|headers)\s*=\s*["']js:""": "evaluated code in an attribute",
    r"""\bhx-trigger\s*=\s*["'][^"']*\[""": "an evaluated filter in hx-trigger",
    r"javascript:": "a javascript: address",
    r"""["'(]data:""": "a data: address",
    r"\beval\(|\bnew Function\(": "evaluated code",
}


def find_faults(text: str) -> list[str]:
    """Given a file's text, return what is forbidden in it."""
    return [reason for pattern, reason in FORBIDDEN.items() if re.search(pattern, text, re.IGNORECASE)]


@pytest.mark.parametrize("path", OURS, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_file_of_ours_loads_nothing_from_outside_and_has_nothing_inline(path: Path) -> None:
    assert find_faults(path.read_text()) == []


@pytest.mark.parametrize(
    "text",
    [
        '<script src="https://cdn.example/x.js"></script>',
        '<link href="//fonts.example/inter.css">',
        '<p style="color: red">',
        "<script>alert(1)</script>",
        '<button onclick="go()">',
        '<a href="javascript:go()">',
        '<p hx-on:click="go()">',
        'a { background: url("data:image/png;base64,AA") }',
        '<p hx-trigger="click[ctrlKey]">',
        '@import "https://fonts.example/x.css";',
    ],
)
def test_the_search_finds_what_is_forbidden(text: str) -> None:
    assert find_faults(text)


def test_every_vendored_file_is_in_the_manifest_with_its_hash_and_licence() -> None:
    entries = json.loads((STATIC / "vendor" / "manifest.json").read_text())
    for entry in entries:
        assert hashlib.sha256((STATIC / entry["file"]).read_bytes()).hexdigest() == entry["sha256"], entry[
            "name"
        ]
        assert entry["version"] in entry["source"]
        assert entry["licence"]
        assert (STATIC / entry["licence_file"]).stat().st_size > 300
    known = {entry["file"] for entry in entries} | {entry["licence_file"] for entry in entries}
    found = {str(p.relative_to(STATIC)) for p in (STATIC / "vendor").iterdir()} - {
        "vendor/manifest.json",
        "vendor/README.md",
    }
    assert found <= known


def test_every_icon_that_is_named_exists() -> None:
    sprite = set(re.findall(r'<symbol id="([^"]+)"', (STATIC / "icons" / "sprite.svg").read_text()))
    listed = {
        line.split()[0]
        for line in (STATIC / "icons" / "icons.txt").read_text().splitlines()
        if line and not line.startswith("#")
    }
    assert sprite == listed
    used = {
        (name, page.name)
        for page in PAGES
        for name in re.findall(r"""\{%\s*icon\s+["']([^"']+)["']""", page.read_text())
    }
    assert used and [each for each in used if each[0] not in sprite] == []


def test_every_static_file_that_is_named_exists() -> None:
    named = {
        (name, page.name)
        for page in PAGES
        for name in re.findall(r"""\{%\s*static\s+["']([^"']+)["']""", page.read_text())
    }
    assert named and [each for each in named if not (STATIC / each[0]).is_file()] == []


def test_a_comment_of_a_template_ends_on_its_line() -> None:
    # Django shows the reader a {# comment #} that spans lines.
    lines = [(page.name, line) for page in PAGES for line in page.read_text().splitlines() if "{#" in line]
    assert lines and [each for each in lines if each[1].count("{#") != each[1].count("#}")] == []


def read_with_includes(page: Path, seen: frozenset[str] = frozenset()) -> str:
    """Given a template, return its text and that of everything that it includes."""
    text = page.read_text()
    names = set(re.findall(r"""\{%\s*include\s+["']([^"']+)["']""", text)) - seen
    return text + "".join(read_with_includes(TEMPLATES / name, seen | names) for name in sorted(names))


def test_no_form_stands_in_a_live_region() -> None:
    # A swap may come while somebody types. A region has its own file, so the whole file is looked at.
    live = [page for page in PAGES if "data-live-topic" in page.read_text()]
    assert live
    for page in live:
        assert "<form" not in read_with_includes(page), f"{page.name}: a form in a live region"


def test_a_first_page_load_is_under_its_budget() -> None:
    head = (TEMPLATES / "parts" / "head.html").read_text()
    names = set(re.findall(r"""\{%\s*static\s+["']([^"']+)["']""", head)) | {"icons/sprite.svg"}
    names |= {f"js/{p.name}" for p in (STATIC / "js").glob("*.js")}
    fonts = {n for n in names if n.endswith(".woff2")}
    size = sum((STATIC / n).stat().st_size for n in fonts)
    size += sum(len(gzip.compress((STATIC / n).read_bytes())) for n in names - fonts)
    # 12 KB are left for the page itself, compressed.
    assert size < 100_000 - 12_000, size
