"""OpenLDAP is tried: every entry is put into new databases, checked against its schema, and slapd is started
on them. The shell of it is `openldap_trial.sh`.

LMDB has no check sums: bytes that changed inside of a value that still fits its syntax are not seen.
"""

from __future__ import annotations

from collections.abc import Sequence

from agents.applications.openldap import END
from agents.applications.recipes import STREAM
from agents.applications.stored import Stored
from agents.applications.trials import (
    DAY_S,
    TREE,
    UNSEEN,
    Question,
    Step,
    Trial,
    TrialMaker,
    answers,
    call,
    shell_file,
)
from agents.commands import quote


class OpenLdapTrial(TrialMaker):
    """A question is a filter, its database a suffix, the answer the number of entries that it finds."""

    name = "openldap"
    example = "(objectClass=person)"

    def make(self, stored: Stored, questions: Sequence[Question]) -> Trial:
        is_stream = stored.way == STREAM
        stored.part("config.ldif" if is_stream else "")
        place = "stream" if is_stream else f"{TREE}{stored.instance}"
        asked = answers(questions, [f"check_tools; answer {quote(each.database)}" for each in questions])
        read = call("take_streams", END) if is_stream else "read_copy"
        steps = (
            Step("configuration", call("configure", place, END), is_needed=True),
            Step("entries", f"{call('check_tools')}{read}", timeout_s=DAY_S, is_needed=True),
            Step("slapadd", f"{call('check_tools')}load", timeout_s=DAY_S, is_needed=True),
            Step("start", f"{call('check_tools')}start", is_needed=True),
        )
        files = (shell_file(__file__), *asked.files)
        return Trial(
            (*steps, *asked.steps), files, 4.0, (UNSEEN.format("LDIF has" if is_stream else "LMDB has"),)
        )
