"""What a command printed is tried: something is in it. Only the author of the command knows what it means."""

from __future__ import annotations

from collections.abc import Sequence

from agents.applications.stored import Stored
from agents.applications.trials import Question, Step, Trial, TrialMaker, place_of, refuse_questions
from agents.commands import quote


class CommandTrial(TrialMaker):
    name = "command"

    def make(self, stored: Stored, questions: Sequence[Question]) -> Trial:
        refuse_questions(questions, "What a command printed")
        place = quote(place_of(stored.parts[0]))
        source = f'[ -s {place} ] || {{ echo "nothing is in it" >&2; exit 1; }}\nwc -c <{place}'
        return Trial((Step("content", source),), notes=("nobody looked at what it means",))
