"""The words in which an application says how its restored data is tried: started with our configuration,
asked, and stopped.

Whatever is restored is hostile: an `archive_command`, a library to preload, a module to load, an init file
in it are somebody's code. So nothing of it configures anything. A trial writes its own configuration and
starts programs that the machine itself has; each step runs as a throw-away user in a root of its own (see
`agents/drilling/cage.sh`): the machine's /usr read-only, the restored files without the right to be executed,
no network, no other socket. What data may still do is to run inside of that: triggers and functions of a
database run when somebody asks for what they guard.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import cache
from pathlib import Path
from typing import ClassVar, Literal

from agents.applications.stored import Stored, StoredPart
from agents.commands import join
from agents.errors import PlanRefused
from agents.plugins import find_plugins

# As the steps see them. What was restored lies below TREE at its true path; ROOM is the throw-away user's and
# takes no program; OURS holds the files of the trial, read-only.
ROOM = "/drill"
TREE = f"{ROOM}/tree"
OURS = "/ours"
# The status of a step when the machine has no program for it: a line that says so, a line with the remedy.
# The drill could not be done then, which says nothing about the data.
NO_TOOL = 69

DAY_S = 24 * 3600
# A note of trials whose application keeps no check sums, when it is known what has none.
UNSEEN = "{} no check sums: bytes that changed within a value may not be seen"
_SHELL = "trial.sh"

Comparison = Literal["=", ">", ">=", "<", "<=", "contains"]


@dataclass(frozen=True, slots=True)
class Question:
    """A person's own query and the answer that is expected: `text` as the application's client reads it, in
    `database` where there are several ("" is the usual one)."""

    text: str
    comparison: Comparison
    value: str
    database: str = ""

    def holds(self, answer: str) -> bool:
        """Given what the client printed, return whether it is as expected. Numbers are compared as such; an
        answer that is none is neither more nor less than anything."""
        said, wanted = answer.strip(), self.value.strip()
        if self.comparison == "contains":
            return wanted in said
        try:
            one, other = Decimal(said), Decimal(wanted)
        except InvalidOperation:
            return self.comparison == "=" and said == wanted
        if one.is_nan() or other.is_nan():
            return False
        match self.comparison:
            case "=":
                return one == other
            case ">":
                return one > other
            case ">=":
                return one >= other
            case "<":
                return one < other
            case "<=":
                return one <= other


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a trial: a source of POSIX sh that runs in ROOM to its end, at most so long, and passes
    with status 0. What it prints is said to people.

    `is_needed`: when it fails, nothing after it makes sense. With a `question`, what it prints is the
    answer. What it starts in the background stays until the end of the trial."""

    name: str
    source: str
    timeout_s: int = 3600
    is_needed: bool = False
    question: Question | None = None


@dataclass(frozen=True, slots=True)
class OurFile:
    """A file of the trial, in OURS."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Trial:
    """How restored data is tried. How many times its size is needed beside it: `room` on the disk (an archive
    that is unpacked), `memory`. `notes` say what the checks cannot see."""

    steps: tuple[Step, ...]
    files: tuple[OurFile, ...] = ()
    room: float = 0.0
    notes: tuple[str, ...] = ()
    memory: float = 0.0


class TrialMaker(ABC):
    """How one application is tried. A file of this package holds one; found by scanning the package."""

    name: ClassVar[str]  # of the application
    example: ClassVar[str] = ""  # of a question, as a person would ask it; "" when it answers none

    @abstractmethod
    def make(self, stored: Stored, questions: Sequence[Question]) -> Trial:
        """Given what the repository holds, return how it is tried. Raise PlanRefused when this way of storing
        it cannot be tried, or nobody could ask it these questions."""


@cache
def trial_makers() -> dict[str, TrialMaker]:
    """Return every maker of trials by the name of its application."""
    return find_plugins(sys.modules[__package__], TrialMaker.__subclasses__)


def make_trial(stored: Stored, questions: Sequence[Question] = ()) -> Trial:
    """Given what the repository holds of an application, return how it is tried. Raise PlanRefused when
    nobody knows how."""
    maker = trial_makers().get(stored.application)
    if maker is None:
        raise PlanRefused(
            f"nobody knows how to try {stored.application} on restored data",
            remedy="Drill it as a source of files, which compares them with the restore point.",
        )
    return maker.make(stored, questions)


def place_of(part: StoredPart) -> str:
    """Given a stream, return where its file lies for the steps."""
    return f"{TREE}{part.paths[0]}"


def places_of(stored: Stored) -> list[str]:
    """Given files of an application, return where its places lie for the steps. Raise PlanRefused when they
    were not stored."""
    part = stored.part("")
    return [f"{TREE}{path}" for path in stored.paths or part.paths]


def shell_file(module: str) -> OurFile:
    """Given the file of a maker's module, return the shell beside it, which `call` reads."""
    return OurFile(_SHELL, Path(module).with_suffix(".sh").read_text())


def call(function: str, *words: str) -> str:
    """Return the source that calls a function of the trial's shell."""
    return f". {OURS}/{_SHELL}\n{join((function, *words))}\n"


@dataclass(frozen=True, slots=True)
class Asked:
    """Questions as steps; their texts are files, so that none is a word of a command."""

    steps: tuple[Step, ...]
    files: tuple[OurFile, ...]


def answers(questions: Sequence[Question], callers: Sequence[str]) -> Asked:
    """Given questions, and for each the call that asks it when the name of its file follows, return their
    steps."""
    steps, files = [], []
    for number, (question, caller) in enumerate(zip(questions, callers, strict=True), 1):
        name = f"question-{number}"
        files.append(OurFile(name, question.text))
        source = f". {OURS}/{_SHELL}\n{caller} {OURS}/{name}\n"
        steps.append(Step(f"question {number}", source, timeout_s=DAY_S, question=question))
    return Asked(tuple(steps), tuple(files))


def refuse_questions(questions: Sequence[Question], label: str) -> None:
    """Raise PlanRefused when there is a question to an application that answers none."""
    if questions:
        raise PlanRefused(f"{label} answers no queries in a drill", remedy="Take the query out of it.")
