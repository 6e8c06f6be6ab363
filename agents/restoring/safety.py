"""What a restore will replace is backed up first, so that the restore can be undone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace

from agents.backup import BackupOutcome, BackupRequest, back_up
from agents.errors import PlanRefused
from agents.events import Said, Tell
from agents.facts import read_paths
from agents.flow import Control, OpenSession
from agents.plan import SourceRequest
from agents.runner import Runner

_MISSING = "missing"


def save_first(
    request: BackupRequest, paths: Sequence[str], open_session: OpenSession, *, tell: Tell, control: Control
) -> BackupOutcome | None:
    """Given a backup without sources and the absolute paths that will be replaced, back up those that exist;
    None when none does.

    Raise PlanRefused when one of them is a symbolic link, or when not all of it could be read: nothing may be
    replaced then. Any other AgentError means the same."""
    with (
        closing(open_session()) as session,
        Runner(session, console_id=request.console_id, run_id=request.run_id, tell=tell) as runner,
    ):
        facts = {fact.path: fact.kind for fact in read_paths(runner, paths)}
    _refuse_links(facts)
    present = [path for path in paths if facts.get(path) != _MISSING]
    if not present:
        tell(Said("Nothing is there yet that could be replaced: no safety restore point is needed."))
        return None
    tell(Said("What will be replaced is backed up first, so that this can be undone."))
    sources = tuple(SourceRequest(path=path, if_hot_impossible="accept-live") for path in present)
    outcome = back_up(replace(request, sources=sources), open_session, tell=tell, control=control)
    problems = sum(point.problem_count for point in outcome.points)
    if len(outcome.points) != len(present) or any(not point.is_complete for point in outcome.points):
        raise PlanRefused(
            f"The safety restore point is not complete, {problems:,} files could not be read: nothing was "
            "replaced.",
            remedy="Look at the files that are named below, or pick what can be read.",
        )
    return outcome


def _refuse_links(kinds: Mapping[str, str]) -> None:
    """Given the kind of each path, raise PlanRefused for a link: the plan of a backup speaks of a policy, and
    none is here."""
    for path, kind in kinds.items():
        if kind == "link":
            raise PlanRefused(
                f"{path} is a symbolic link, and a link is not backed up by itself: nothing was replaced.",
                remedy="Pick the folder that holds it, or untick the backup that is made first: then nothing "
                "brings back what is replaced.",
            )
