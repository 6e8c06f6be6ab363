"""A file that a person sends: its form, and its way through the page that shows what it would do.

Nothing is kept between the two requests: the page carries the file back, signed, with a digest of what was
shown, so that nothing else is done when its button is pressed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from django import forms
from django.core import signing
from django.http import HttpRequest

from backupsite.web.yaml_tree import MOST_BYTES

# A form may hold 2.5 MB.
_MOST_CARRIED = 2_000_000
TOO_OLD = "This page is too old. Send the file again."


class SentFile(forms.Form):
    """A file, or its text."""

    file = forms.FileField(required=False, label="The file")
    text = forms.CharField(
        required=False,
        strip=False,
        label="Or its text",
        widget=forms.Textarea(attrs={"rows": 8, "spellcheck": "false", "class": "mono"}),
    )

    def clean(self) -> dict[str, Any]:
        file = self.cleaned_data.get("file")
        if file is not None and file.size > MOST_BYTES:
            self.add_error("file", f"The file is larger than {MOST_BYTES // 1024**2} MiB. Send it in parts.")
        elif file is None and not self.cleaned_data.get("text") and not self.errors:
            self.add_error("file", "Choose a file, or paste its text.")
        return self.cleaned_data

    @property
    def content(self) -> bytes:
        """The file as bytes. Only after is_valid()."""
        file = self.cleaned_data["file"]
        return bytes(file.read()) if file is not None else str(self.cleaned_data["text"]).encode()


class TooOld(Exception):
    """What a page carried back is not what this console gave it."""


def carry(salt: str, said: Mapping[str, str], shown: str) -> str:
    """Given texts and what the page shows of them, return a field of the page that nobody else can make."""
    return signing.dumps({**said, "digest": _digest(shown)}, salt=salt, compress=True)


def fits(carried: str) -> bool:
    """Say whether a form can bring this back."""
    return len(carried) <= _MOST_CARRIED


def take_back(request: HttpRequest, salt: str, *names: str) -> dict[str, str]:
    """Return the texts of these names that a page carried, with the digest of what it showed. Raise TooOld
    when there are none of this console's."""
    try:
        said = signing.loads(request.POST["carried"], salt=salt)
        return {name: str(said[name]) for name in (*names, "digest")}
    except (signing.BadSignature, KeyError, TypeError) as error:
        raise TooOld from error


def is_as_shown(said: Mapping[str, str], shown: str) -> bool:
    """Say whether the page that carried `said` showed this."""
    return said["digest"] == _digest(shown)


def _digest(shown: str) -> str:
    return hashlib.sha256(shown.encode()).hexdigest()
