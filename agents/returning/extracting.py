"""One database of a dump: under a name of the run until all of it is there, gone when anything fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from agents.applications.comebacks import Extraction, Fetch, Preparation
from agents.commands import Command
from agents.errors import ComebackFailed, CommandFailed
from agents.events import Said, Tell
from agents.flow import Control
from agents.returning.fetching import Fetcher, run_long
from agents.runner import Runner
from agents.scratch import drop_scratch, make_scratch

_KEY = "database"
# As the server's user, who reads what root has opened.
_LOAD = r"""
file=$1
shift
exec <"raw/$file" || exit 1
exec "$@"
"""


@contextmanager
def scratch_for(runner: Runner, extraction: Extraction) -> Iterator[str]:
    """Make the directory for a dump and yield its path; it is gone afterwards."""
    path = make_scratch(runner, extraction.part.size_bytes)
    try:
        runner.run(Command.of("mkdir", "-m", "0700", f"{path}/raw", f"{path}/new"))
        yield path
    finally:
        drop_scratch(runner)


def extract(
    runner: Runner, fetcher: Fetcher, extraction: Extraction, scratch: str, tell: Tell, control: Control
) -> int:
    """Bring the database back; return how many tables it has. Raise ComebackFailed when its server refuses
    it: nothing of it is left then."""
    part = extraction.part
    fetcher.fetch(Fetch(0, part, f"/{part.part}", is_raw=True), scratch)
    runner.owe(_KEY, extraction.drop)
    try:
        runner.run(extraction.create, timeout_s=600)
        load = Preparation(0, extraction.label, _LOAD, (part.part, *extraction.load.argv))
        tell(Said(f"{extraction.label}."))
        run_long(runner, load, scratch, tell, control)
        count = runner.run(extraction.count, timeout_s=600).text.strip()
        runner.run(extraction.finish, timeout_s=60)
    except CommandFailed as error:
        raise ComebackFailed(
            f"{extraction.label} was refused: {error.detail[-300:] or error.message}",
            remedy=extraction.remedy,
            detail=error.detail,
        ) from error
    finally:
        runner.settle(_KEY)
    return int(count) if count.isascii() and count.isdigit() else 0
