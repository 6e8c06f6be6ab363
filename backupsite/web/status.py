"""How a state looks: one word, one tone, one icon. Apps give it; templates only draw it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Tone = Literal["neutral", "good", "warn", "bad", "running", "frost", "hot", "off"]


@dataclass(frozen=True)
class Status:
    """A state as people see it. The icon is a name of static/icons/icons.txt; the word is never left out."""

    label: str
    tone: Tone = "neutral"
    icon: str = "info"
