"""Redis and Valkey are tried: the RDB's check sum is compared, the server reads all of it with our
configuration, and its keys are counted. No module is loaded. The shell of it is `redis_trial.sh`.

An append-only file may end within its last command, as after a power cut: the server drops that one and says
so.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from agents.applications.recipes import STREAM
from agents.applications.stored import Stored
from agents.applications.trials import (
    DAY_S,
    ROOM,
    UNSEEN,
    OurFile,
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

_CONFIG = f"""\
port 0
unixsocket {ROOM}/socket/s
unixsocketperm 700
daemonize no
save ""
databases 1000
aof-load-truncated yes
auto-aof-rewrite-percentage 0
loglevel notice
"""


class RedisTrial(TrialMaker):
    name = "redis"
    example = "dbsize"

    def make(self, stored: Stored, questions: Sequence[Question]) -> Trial:
        if stored.way == STREAM:
            place = posixpath.dirname(place_of(stored.part("dump.rdb")))
        else:
            place = places_of(stored)[0]
        asked = answers(questions, [f"answer {quote(each.database)}" for each in questions])
        steps = (
            Step("files", call("find_files", place), is_needed=True),
            Step("redis-check-rdb", call("check_rdb"), timeout_s=DAY_S),
            Step("start", call("start"), timeout_s=DAY_S, is_needed=True),
            Step("keys", call("count_keys")),
        )
        files = (shell_file(__file__), OurFile("redis.conf", _CONFIG), *asked.files)
        notes = () if stored.way == STREAM else (UNSEEN.format("append-only files have"),)
        # all of it is in memory, and on the disk it is packed
        return Trial((*steps, *asked.steps), files, notes=notes, memory=6.0)
