"""Labels of choice cards: a title with a line of help under it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Choice:
    """Use it as the label of a form's choice; templates/parts/choices.html draws both lines."""

    title: str
    help: str = ""

    def __str__(self) -> str:
        return self.title
