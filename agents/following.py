"""Following restic while it works on a device: progress, files with problems, its end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from agents.commands import to_text
from agents.errors import AgentError, LeaseLost, ProtocolBroken, RepositoryFull, RepositoryRefused
from agents.events import FileProblem, Moved, Tell
from agents.flow import Control
from agents.gateway import Gateway
from agents.restic.messages import (
    BackupStatus,
    BackupSummary,
    Decoder,
    ExitError,
    ItemError,
    Message,
    RestoreStatus,
    RestoreSummary,
)
from agents.restic.outcomes import Outcome, judge
from agents.session import Process

_Summary = TypeVar("_Summary", BackupSummary, RestoreSummary)
_POLL_S = 1.0
# restic says something each second; a run of this length without a word hangs.
_SILENCE_S = 900.0
# A restore reads every file again after its summary, without a word.
_COMPARE_S = 24 * 3600.0
_END_S = 60.0
_TAIL = 64 * 1024


def _never() -> bool:
    return False


@dataclass(slots=True)
class Followed:
    """What a restic on the device did."""

    outcome: Outcome = Outcome.SUCCESS
    backups: list[BackupSummary] = field(default_factory=list)
    restores: list[RestoreSummary] = field(default_factory=list)
    problem_count: int = 0
    error_count: int = 0


class Follower:
    """Reads one restic after the other and adds up what they did, so that a run's numbers only grow."""

    def __init__(self, tell: Tell, control: Control, gateway: Gateway) -> None:
        self._tell = tell
        self._control = control
        self._gateway = gateway
        self._before = Moved(0, 0, 0, 0, 0, 0)

    def follow(
        self, what: str, process: Process, stop: Callable[[], None], rest: Callable[[], bool] | None = None
    ) -> Followed:
        """Given a started restic (`what`: "backup" or "restore"), return what it did once it ended.

        `stop` ends it on the device when the caller of the flow asks to stop; `rest` is asked each second
        whether it stands still, and may raise. Raise the AgentError that says
        why it failed; what the gateway refused comes before what restic made of it.
        """
        followed = Followed()
        decoder = Decoder(what)
        try:
            self._read(process, decoder, followed, rest or _never)
            status = process.wait(timeout_s=_END_S)
        except AgentError:
            self._control.raise_if_stopped()
            raise
        except TimeoutError as error:
            stop()
            raise ProtocolBroken("restic on the device said nothing for 15 minutes") from error
        finally:
            process.close()
        self._judge(what, status, process.stderr_tail, followed)
        return followed

    def _read(self, process: Process, decoder: Decoder, followed: Followed, rest: Callable[[], bool]) -> None:
        silent_s = 0.0
        while True:
            self._control.raise_if_stopped()
            if rest():
                silent_s = 0.0
            try:
                data = process.read(timeout_s=_POLL_S)
            except TimeoutError:
                silent_s += _POLL_S
                if silent_s > (_COMPARE_S if followed.restores else _SILENCE_S):
                    raise
                continue
            silent_s = 0.0
            self._take(decoder.feed(data) if data else decoder.end(), followed)
            if not data:
                return

    def _take(self, messages: Iterable[Message], followed: Followed) -> None:
        for message in messages:
            match message:
                case BackupStatus():
                    followed.error_count = max(followed.error_count, message.errors)
                    self._show(
                        message.bytes_done,
                        message.files_done,
                        message.bytes_total,
                        message.files_total,
                        message.errors,
                    )
                case RestoreStatus():
                    self._show(
                        message.bytes_restored + message.bytes_skipped,
                        message.files_restored + message.files_skipped,
                        message.bytes_total,
                        message.files_total,
                        0,
                    )
                case BackupSummary():
                    _keep_only(followed.backups, message)
                case RestoreSummary():
                    _keep_only(followed.restores, message)
                case _:
                    self._take_problem(message, followed)

    def _take_problem(self, message: Message, followed: Followed) -> None:
        if isinstance(message, ItemError):
            followed.problem_count += 1
            self._tell(FileProblem(message.item, message.message))

    def _show(self, data: int, files: int, all_data: int, all_files: int, problems: int) -> None:
        before = self._before
        self._tell(
            Moved(
                bytes_done=before.bytes_done + data,
                files_done=before.files_done + files,
                stored_bytes=self._gateway.stored_bytes,
                problems=before.problems + problems,
                bytes_total=before.bytes_done + all_data if all_data else None,
                files_total=before.files_done + all_files if all_files else None,
            )
        )

    def add(self, data: int, files: int, problems: int) -> None:
        """Given the final numbers of one restic, count them and tell them."""
        before = self._before
        self._before = Moved(
            before.bytes_done + data,
            before.files_done + files,
            self._gateway.stored_bytes,
            before.problems + problems,
            before.bytes_done + data,
            before.files_done + files,
        )
        self._tell(self._before)

    def _judge(self, what: str, status: int, stderr: bytes, followed: Followed) -> None:
        detail = self._read_stderr(what, stderr, followed)
        # Only the end of stderr is kept: of many problems the last ones are listed, but all are counted.
        followed.problem_count = max(followed.problem_count, followed.error_count)
        self._control.raise_if_stopped()
        if status != 0:
            self._blame_gateway(detail)
        followed.outcome = judge(status, detail)
        if followed.problem_count and followed.outcome is Outcome.SUCCESS:
            followed.outcome = Outcome.WARNINGS

    def _read_stderr(self, what: str, stderr: bytes, followed: Followed) -> str:
        """Given the end of stderr, take the files that it lists and return the other words."""
        if len(stderr) >= _TAIL:  # the first line is torn
            stderr = stderr.partition(b"\n")[2]
        words: list[str] = []
        decoder = Decoder(what, takes_text=True)
        try:
            messages = [*decoder.feed(stderr + b"\n")]
        except ProtocolBroken:
            return to_text(stderr)
        for message in messages:
            if isinstance(message, ItemError):
                self._take_problem(message, followed)
            elif isinstance(message, ExitError):
                words.append(message.message)
            else:
                words.append(getattr(message, "text", ""))
        return "\n".join(words)

    def _blame_gateway(self, detail: str) -> None:
        if self._gateway.is_fenced:
            raise LeaseLost("This worker did not hold the run any more: the gateway let nothing in.")
        if self._gateway.out_of_space:
            raise RepositoryFull(
                "There is no space left where the repository is kept.",
                remedy="Free some space there, or keep less. What was sent is used by the next run.",
                detail=detail,
            )
        if (failure := self._gateway.store_failure) is not None:
            raise failure  # nobody's fault but our storage's: it says whether a retry can help
        refusals = [refusal for refusal in self._gateway.refusals if refusal.status == 403]
        if refusals:
            raise RepositoryRefused(
                f"The gateway refused what restic on the device wanted to do: {refusals[0].reason}",
                remedy="Look at the log of this run; a device that breaks the rules may be compromised.",
                detail=detail,
            )


def _keep_only(kept: list[_Summary], summary: _Summary) -> None:
    """Keep the summary. Raise ProtocolBroken for a second one: a device that prints them without end must not
    fill our memory."""
    if kept:
        raise ProtocolBroken("restic on the device printed more than one summary")
    kept.append(summary)
