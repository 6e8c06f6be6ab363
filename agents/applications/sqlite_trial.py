"""SQLite is tried: the restored file is opened, its journal rolled back or forward, and every page, index and
foreign key is looked at. No extension is ever loaded. The shell of it is `sqlite_trial.sh`."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from agents.applications.recipes import STREAM
from agents.applications.stored import Stored
from agents.applications.trials import (
    DAY_S,
    UNSEEN,
    Question,
    Step,
    Trial,
    TrialMaker,
    answers,
    call,
    place_of,
    places_of,
    shell_file,
)


class SqliteTrial(TrialMaker):
    name = "sqlite"
    example = "select count(*) from orders"

    def make(self, stored: Stored, questions: Sequence[Question]) -> Trial:
        if stored.way == STREAM:
            place = place_of(stored.parts[0])
        else:
            # the policy names the file, which the restore point holds in its real directory
            place = f"{places_of(stored)[0]}/{posixpath.basename(stored.instance)}"
        asked = answers(questions, ["answer"] * len(questions))
        steps = (
            Step("start", call("open_database", place), timeout_s=DAY_S, is_needed=True),
            Step("integrity_check", call("check_pages"), timeout_s=DAY_S),
            Step("foreign_key_check", call("check_keys"), timeout_s=DAY_S),
            *asked.steps,
        )
        return Trial(steps, (shell_file(__file__), *asked.files), notes=(UNSEEN.format("SQLite has"),))
