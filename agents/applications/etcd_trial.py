"""etcd is tried: a snapshot is restored, which compares its hash, or a member's own files are started as a
new cluster of one; then its keys are counted. The shell of it is `etcd_trial.sh`."""

from __future__ import annotations

from collections.abc import Sequence

from agents.applications.recipes import STREAM
from agents.applications.stored import Stored
from agents.applications.trials import (
    DAY_S,
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


class EtcdTrial(TrialMaker):
    """A question is what follows `etcdctl`: "get key --print-value-only"."""

    name = "etcd"
    example = "get /registry/key --print-value-only"

    def make(self, stored: Stored, questions: Sequence[Question]) -> Trial:
        asked = answers(questions, ["answer"] * len(questions))
        if stored.way == STREAM:
            place = place_of(stored.part("etcd.snapshot"))
            steps = (
                Step("snapshot restore", call("restore", place), timeout_s=DAY_S, is_needed=True),
                Step("start", call("start"), timeout_s=DAY_S, is_needed=True),
            )
        else:
            steps = (
                Step("files", call("find_member", *places_of(stored)), is_needed=True),
                Step("start", call("start", "--force-new-cluster"), timeout_s=DAY_S, is_needed=True),
            )
        keys = Step("keys", call("count_keys"), timeout_s=DAY_S)
        files = (shell_file(__file__), *asked.files)
        return Trial((*steps, keys, *asked.steps), files, room=1.0)
