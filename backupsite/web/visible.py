"""Make every character of a foreign text visible: a file name must not be able to lie about itself."""

from __future__ import annotations

SHORT = {"\n": r"\n", "\t": r"\t", "\r": r"\r", "\0": r"\0"}


def show_character(character: str) -> str:
    """Given one character, return it, or its visible escape when it is hidden.

    Bytes that were not UTF-8 (surrogateescape, U+DC80 to U+DCFF) are shown as the byte they were.
    """
    # Not printable for Python: controls, format characters (direction, zero width), surrogates, unassigned
    # and private ones, line and paragraph separators, and every space but the ordinary one.
    if character.isprintable():
        return character
    code = ord(character)
    if character in SHORT:
        return SHORT[character]
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if code < 0xA0:
        return f"\\x{code:02x}"
    return f"[U+{code:04X}]"


def make_visible(text: str) -> str:
    """Given any text, return it with control, direction, zero-width and broken characters as escapes.

    The answer can always be encoded as UTF-8. Ordinary text comes back unchanged.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(show_character(c) for c in text)


def shorten_middle(text: str, length: int) -> str:
    """Given a text and a length of at least 3, return it with its middle replaced by … when it is longer.

    The end keeps a little more than the beginning: a path's last part says most.
    """
    if len(text) <= length:
        return text
    head = (length - 1) * 2 // 5
    return f"{text[:head]}…{text[len(text) - (length - 1 - head) :]}"
