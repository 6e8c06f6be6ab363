"""The flow of a restore onto a device: into a folder that is safe to write to; what exists there is kept."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass

from agents.commands import Command
from agents.conflicts import check_conflicts
from agents.errors import PlanRefused, ProtocolBroken, RestoreTargetRefused
from agents.events import Level, Phase, Said, Tell
from agents.flow import Control, OpenSession, phase
from agents.following import Followed, Follower
from agents.gateway import Rights
from agents.placing import place_restic
from agents.repositories import RepositoryPlace, open_door, open_place
from agents.restic import arguments
from agents.restic.arguments import Restic
from agents.restic.binary import Binary
from agents.restic.outcomes import Outcome
from agents.restic.repository import Repository
from agents.runner import Limits, Runner, SupervisedProgram

# $1: the target. Each parent must be root's alone (or sticky), and no part may be a link: whoever may rename
# a parent while root writes below it may send the files anywhere.
_PREPARE = r"""
path=$1
check() {
  [ ! -L "$1" ] || { printf 'link %s' "$1"; exit 3; }
  [ -d "$1" ] || { printf 'file %s' "$1"; exit 3; }
  set -- "$1" $(ls -ldn -- "$1" | { read -r mode _ owner _; echo "$mode" "$owner"; })
  [ "$3" = 0 ] || { printf 'owner %s' "$1"; exit 3; }
  case $2 in
    d????????[tT]*) [ "$1" != "$path" ] || { printf 'writable %s' "$1"; exit 3; } ;;
    d????w*|d???????w*) printf 'writable %s' "$1"; exit 3 ;;
  esac
}
walked=
rest=${path#/}
check /
while [ -n "$rest" ]; do
  part=${rest%%/*}
  case $rest in */*) rest=${rest#*/} ;; *) rest= ;; esac
  walked=$walked/$part
  [ -e "$walked" ] || [ -L "$walked" ] || mkdir -m 0700 -- "$walked" || exit 4
  check "$walked"
done
df -Pk -- "$path" | { read -r _; read -r _ _ _ free _; printf 'free %s' "$free"; }
"""
_REASONS = {
    "link": "is a symbolic link",
    "file": "is not a folder",
    "owner": "does not belong to root",
    "writable": "may be changed by others than root",
}
# Somebody waits for it: nice beside the applications, but with all that restic needs, and never paused.
_LIMITS = Limits(processors=None, memory_bytes=None, read_concurrency=None, pressure_budget=None)
_KEPT = (
    "What was there was not compared with the restore point. If an earlier restore into this folder was cut "
    "off, some of it may be torn: restore into an empty folder then."
)


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """What to restore where. `folder` is a folder of the restore point; without `names` all of it, else only
    these entries of it. They land directly in `target`, an absolute folder of the device."""

    console_id: str
    run_id: str
    place: RepositoryPlace
    binary: Binary
    is_local: bool
    restic_id: str
    folder: str
    names: tuple[str, ...]
    target: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class RestoreOutcome:
    """What came out. `kept_files` existed already and were neither touched nor compared: then it is not
    complete, since what a dead restore left looks the same."""

    files: int
    bytes: int
    kept_files: int
    problem_count: int
    is_complete: bool


def restore(
    request: RestoreRequest, open_session: OpenSession, *, tell: Tell, control: Control
) -> RestoreOutcome:
    """Restore onto the device. Every file is read again and compared with the restore point afterwards.

    Raise RestoreTargetRefused when the folder is not safe, and any other AgentError when it failed: what was
    written until then stays, and a second try into the same folder keeps it as it is.
    """
    with ExitStack() as stack:
        with phase(tell, Phase.CONNECT):
            session = stack.enter_context(closing(open_session()))
            tell(Said(f"Connected: {session.label}."))
            runner = stack.enter_context(
                Runner(session, console_id=request.console_id, run_id=request.run_id, tell=tell)
            )
        with phase(tell, Phase.CHECK):
            prepare_target(runner, request.target, request.size_bytes)
            restic = place_restic(session, runner, request.binary, is_local=request.is_local)
            repository = stack.enter_context(open_place(request.place, request.binary, tell))
        with phase(tell, Phase.TRANSFER):
            door = stack.enter_context(
                open_door(
                    session,
                    request.place,
                    repository,
                    run_id=request.run_id,
                    rights=Rights.RESTORE,
                    control=control,
                )
            )
            folder, names = _pick(repository, request)
            check_conflicts(runner, repository, request.restic_id, folder, names, request.target)
            command = arguments.restore(
                Restic(restic, takes_locks=False),
                request.restic_id,
                request.target,
                folder=folder,
                names=names,
                verify=True,
            )
            control.raise_if_stopped()
            program = runner.start(command, environment=door.environment, limits=_LIMITS)
            follower = Follower(tell, control, door.gateway)
            followed = follower.follow("restore", program, _stop(runner, program))
            outcome = _outcome(followed, names)
            # A short restore ends before restic says how far it is.
            follower.add(outcome.bytes, outcome.files, outcome.problem_count)
        came, kept = f"{outcome.files:,}", f"{outcome.kept_files:,}"
        tell(Said(f"{came} files and folders were restored and compared, {kept} were there and kept."))
        if outcome.kept_files:
            tell(Said(_KEPT, Level.WARNING))
        with phase(tell, Phase.CLEAN_UP):
            stack.close()
    return outcome


def prepare_target(runner: Runner, target: str, size_bytes: int) -> None:
    """Make the folder when it is missing (0700), and check that nobody but root can redirect what is written.

    Raise RestoreTargetRefused when it is not safe or too small, CommandFailed when it cannot be made."""
    if not target.startswith("/") or ".." in target.split("/") or len(target) > 3000:
        raise RestoreTargetRefused("The folder to restore into must be a plain absolute path.")
    clean = "/" + "/".join(part for part in target.split("/") if part not in ("", "."))
    if clean == "/":
        raise RestoreTargetRefused("A restore into / itself is not done.", remedy="Name a folder of its own.")
    result = runner.run(Command.of("sh", "-c", _PREPARE, "sh", clean), check=False)
    word, _, rest = result.text.partition(" ")
    if result.status == 3 and word in _REASONS:
        raise RestoreTargetRefused(
            f"{rest} {_REASONS[word]}: somebody else could send the files elsewhere while they are written.",
            remedy="Restore into a folder whose parents belong to root, for example /var/restore.",
        )
    if not result.is_success or word != "free" or not rest.isdigit():
        raise RestoreTargetRefused("The folder to restore into cannot be made.", detail=result.tail)
    if int(rest) * 1024 < size_bytes:
        raise RestoreTargetRefused(
            f"The restore needs {size_bytes:,} bytes, and {int(rest) * 1024:,} are free there.",
            remedy="Name a folder on a larger disk, or pick fewer files.",
        )


def _pick(repository: Repository, request: RestoreRequest) -> tuple[str, tuple[str, ...]]:
    """Return the folder and the names in it that restic is asked for: a source may be a single file."""
    above, _, name = request.folder.rpartition("/")
    if request.names or not name:
        return request.folder, request.names
    entries = repository.list_folder(request.restic_id, above or "/")
    is_file = any(entry.name == name and not entry.is_folder for entry in entries)
    return (above or "/", (name,)) if is_file else (request.folder, ())


def _stop(runner: Runner, program: SupervisedProgram) -> Callable[[], None]:
    return lambda: runner.stop(program)


def _outcome(followed: Followed, names: tuple[str, ...]) -> RestoreOutcome:
    """Raise ProtocolBroken when restic does not say what it did, PlanRefused when it found none of `names`:
    it ends with 0 all the same."""
    if len(followed.restores) != 1:
        raise ProtocolBroken("restic on the device ended without saying what it restored")
    (summary,) = followed.restores
    if names and not summary.files_restored + summary.files_skipped:
        raise PlanRefused("The restore point holds nothing of these names.", remedy="Pick the files again.")
    return RestoreOutcome(
        files=summary.files_restored,
        bytes=summary.bytes_restored,
        kept_files=summary.files_skipped,
        problem_count=followed.problem_count,
        is_complete=followed.outcome is Outcome.SUCCESS and not summary.files_skipped,
    )
