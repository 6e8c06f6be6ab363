"""MariaDB is tried: the restored files are started with our configuration, a stream is prepared, a dump is
run on a new server; then every table is checked. The shell of it is `mariadb_trial.sh`.

A server without grant tables reads no password and loads nothing that the data name: no plug-in, no function,
no event. Triggers, views and routines can run when they are asked. MyISAM and Aria tables are not mended by
the server, so that a torn one is seen.
"""

from __future__ import annotations

from collections.abc import Sequence

from agents.applications.recipes import DUMP, STREAM
from agents.applications.stored import Stored
from agents.applications.trials import (
    DAY_S,
    ROOM,
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
from agents.commands import quote


class MariaDbTrial(TrialMaker):
    name = "mariadb"
    example = "select count(*) from orders"

    def make(self, stored: Stored, questions: Sequence[Question]) -> Trial:
        asked = answers(questions, [f"answer {quote(each.database)}" for each in questions])
        steps, room = _steps(stored)
        check = Step(
            "CHECK TABLE", call("check_tables", stored.way if stored.way == STREAM else ""), timeout_s=DAY_S
        )
        notes = ["tables of engines that a plug-in brings cannot be opened in a drill"]
        if stored.way == DUMP:
            notes.append(UNSEEN.format("a dump has"))
        return Trial((*steps, check, *asked.steps), (shell_file(__file__), *asked.files), room, tuple(notes))


def _steps(stored: Stored) -> tuple[tuple[Step, ...], float]:
    start = Step("start", call("start"), timeout_s=DAY_S, is_needed=True)
    if stored.way == DUMP:
        file = place_of(stored.part("all-databases.sql"))
        new = Step("start", call("start_new"), is_needed=True)
        return (new, Step("load", call("load_dump", file), timeout_s=DAY_S, is_needed=True)), 3.0
    if stored.way == STREAM:
        file, folder = place_of(stored.part("backup.xbstream")), f"{ROOM}/unpacked"
        unpack = Step("prepare", call("unpack", file, folder), timeout_s=DAY_S, is_needed=True)
        return (unpack, Step("files", call("find_data", folder), is_needed=True), start), 1.5
    return (Step("files", call("find_data", *places_of(stored)), is_needed=True), start), 0.0
