"""The console's side of a run on a device."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType

from agents.binds import Bind, Limits
from agents.commands import Command, Result, Secret, escape_line, to_bytes, to_text
from agents.errors import (
    AgentError,
    CommandFailed,
    ConnectionLost,
    DeviceHealed,
    FreezeTooLong,
    ProtocolBroken,
    ServiceDown,
)
from agents.events import CommandRan, Tell
from agents.runner.bootstrap import make_bootstrap, render_program
from agents.runner.program import SupervisedProgram, start_program
from agents.runner.protocol import Answer, Answers, join_lines, make_refusal, render_chunks
from agents.session import Process, Session

READY_TIMEOUT_S = 30.0
ANSWER_TIMEOUT_S = 30.0
# How long the device may need to end a step that was told to end (TERM 2 s, KILL 5 s).
_END_TIMEOUT_S = 15.0
_ID = re.compile(r"^[a-z0-9]{1,64}$")
_KEY = re.compile(r"^[a-z0-9][a-z0-9_-]{0,63}$")
_FILE = re.compile(r"^[a-z0-9][a-z0-9_-]{0,63}(\.[a-z0-9]{1,8})?$")
_UNKNOWN_KEY, _FORCED, _OWED_ALREADY = 66, 75, 17
_OWN_FILES = frozenset(
    {"runner", "reaper", "listener", "deadline", "silence", "program", "requests", "in", "out", "err", "step"}
    | {"groups", "owed", "due", "overdue", "healing", "gone", "watcher"}
)


class Runner:
    """A run on a device: steps, the journal of what is owed, long programs. A context manager.

    Threads may share it; what they ask goes one at a time. A long program does not keep others waiting.
    """

    def __init__(
        self,
        session: Session,
        *,
        console_id: str,
        run_id: str,
        tell: Tell,
        silence_s: float = 20.0,
        heartbeat_s: float = 5.0,
    ) -> None:
        """Start the supervisor and its reaper on the device.

        Raise DeviceBusy when another run of this console is alive there, PrivilegeMissing, ToolMissing or
        PlatformRefused when the device cannot hold a run, ConnectionLost when nothing answers in time."""
        if not _ID.match(console_id) or not _ID.match(run_id):
            raise ValueError("console id and run id are lower-case letters and digits")
        self.console_id = console_id
        self.run_id = run_id
        self.name = f"hotfleet-{console_id}-{run_id}"
        self.session = session
        self.tell = tell
        self._heartbeat_s = heartbeat_s
        self._lock = threading.RLock()
        self._write_lock = threading.Lock()
        self._number = 0
        self._trouble: AgentError | None = None
        self._ended = threading.Event()
        self._closed = False
        self._process: Process = session.start(make_bootstrap(is_elevated=session.is_elevated))
        self._answers = Answers(self._process)
        try:
            self.directory = self._start(max(1, round(silence_s)))
        except BaseException:
            self._process.close()
            raise
        self._beat = threading.Thread(target=self._send_heartbeats, name=f"beat-{run_id[:8]}", daemon=True)
        self._beat.start()

    def __enter__(self) -> Runner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # a service that is down is told as such, not as a step that could not be undone; Ctrl-C stays Ctrl-C
        is_louder = isinstance(error, ServiceDown) or not isinstance(error, Exception | None)
        try:
            self.close()
        except AgentError as over:
            if over is not error and not is_louder:
                raise

    def run(self, command: Command, *, timeout_s: float = 60.0, check: bool = True) -> Result:
        """Run a command as root on the device to its end and tell it as CommandRan.

        Raise CommandFailed when `check` and its status is not 0, or when it did not end in time (it was ended
        then); DeviceHealed or ConnectionLost when the run is over."""
        started = time.monotonic()
        with self._lock:
            chunks = _stdin_chunks(command)
            number = self._ask("run", len(chunks), value=command.shell_line(), lines=chunks)
            try:
                answer = self._await(number, timeout_s)
                late = False
            except TimeoutError:
                answer, late = self._end_step(number), True
            except AgentError:
                raise
            except BaseException:
                with suppress(AgentError, OSError):  # whoever is interrupted leaves no step behind
                    self._send(b"k %d\n" % number)
                raise
        seconds = time.monotonic() - started
        result = Result(command, answer.status, answer.out, answer.err, seconds)
        self.tell(CommandRan(command.shell_line(), result.status, seconds))
        if late:
            raise CommandFailed(f"{command.argv[0]} did not end within {timeout_s:g} s", detail=result.tail)
        if check and not result.is_success:
            raise CommandFailed(f"{command.argv[0]} failed with status {result.status}", detail=result.tail)
        return result

    def owe(self, key: str, undo: Command, *, within_s: float | None = None) -> None:
        """Journal an undo step on the device. It is there when this returns, so call it BEFORE the step.

        The undo must be idempotent: it may run when its step never did, or twice. With `within_s` the device
        runs it by itself so many seconds from now, heartbeats or not (a freeze)."""
        if not _KEY.match(key) or undo.stdin is not None:
            raise ValueError("a key is a short word, and an undo step reads nothing")
        force_s = 0 if within_s is None else max(1, round(within_s))
        answer = self._request("owe", key, force_s, value=undo.shell_line())
        if answer.status == _OWED_ALREADY:
            raise ValueError(f"{key} is owed already")
        if answer.status:
            raise ProtocolBroken("the device did not take an undo step")

    def settle(self, key: str) -> None:
        """Run an owed undo step now and strike it from the journal.

        Raise CommandFailed when it failed (it stays owed), FreezeTooLong when the device ran it before."""
        # an undo step may take 20 s and 7 to be ended, on a slow device more
        answer = self._request("settle", key, timeout_s=120.0)
        if answer.status == _FORCED:
            raise FreezeTooLong(f"the device ended {key} by itself because it took too long")
        if answer.status == _UNKNOWN_KEY:
            raise ValueError(f"{key} is not owed")
        if answer.status:
            raise CommandFailed(
                f"undoing {key} failed with status {answer.status}; the device will try again",
                detail=to_text(answer.err or answer.out),
            )

    def write_file(self, name: str, content: bytes | Secret) -> str:
        """Write a file (0600) into the run's directory and return its path. The content is no argument."""
        if not _FILE.match(name) or name in _OWN_FILES:
            raise ValueError(f"{name!r} is not a name for a file of a run")
        path = f"{self.directory}/{name}"
        chunks = render_chunks(to_bytes(content.reveal()) if isinstance(content, Secret) else content)
        if self._request("write", len(chunks), value=path, lines=chunks).status:
            raise CommandFailed(f"{name} could not be written on the device")
        return path

    def start(
        self,
        command: Command,
        *,
        environment: Mapping[str, str | Secret],
        binds: Sequence[Bind] = (),
        scratch: Sequence[str] = (),
        limits: Limits = Limits(),  # noqa: B008 - frozen, shared safely
    ) -> SupervisedProgram:
        """Start a long program as root in a private mount namespace with `binds` in place, read-only.

        `scratch` are directories that stay live and writable although a bind covers them. The environment is
        PATH, HOME and what is given. Raise PlatformRefused when the namespace is not private."""
        with self._lock:
            self._number += 1
            number = self._number
        return start_program(
            self.session,
            self.directory,
            number,
            command,
            environment=environment,
            binds=binds,
            scratch=scratch,
            limits=limits,
        )

    def stop(self, program: SupervisedProgram) -> None:
        """End a long program and everything in its group now. Raise CommandFailed when it cannot be ended."""
        answer = self._request("stop", program.number)
        program.close()
        if answer.status:
            raise CommandFailed("a program on the device does not end; the device goes on trying")

    def pause(self, program: SupervisedProgram, seconds: int) -> bool:
        """Make a long program stand still. The device lets it go by itself after so many seconds, unless this
        is asked for again. Return False when it has ended."""
        return self._request("pause", program.number, seconds).status == 0

    def resume(self, program: SupervisedProgram) -> None:
        """Let a long program that stands still go on."""
        self._request("resume", program.number)

    def list_runs(self) -> list[tuple[bool, str]]:
        """Return (is it alive, its directory) of every other run on the device, of any console."""
        answer = self._request("list")
        pairs = [line.partition(b" ") for line in answer.out.splitlines()]
        return [(condition == b"alive", to_text(path)) for condition, _, path in pairs]

    def heal_run(self, directory: str) -> bool:
        """Replay the journal of a dead run, remove its directory. Return False when something is still owed.

        May take 20 s for each undo step."""
        return self._request("heal", value=directory, timeout_s=300).status == 0

    def close(self) -> None:
        """Settle what is owed, end what runs, remove the directory. May be called twice.

        Raise CommandFailed when an undo step failed (the device goes on trying), and DeviceHealed or
        ConnectionLost when the run was over already (the device cleans up by itself)."""
        with self._lock:
            if self._closed:
                return
            try:
                answer = self._request("close", timeout_s=300)
            finally:
                self._closed = True
                self._ended.set()
                self._process.close()
        if answer.status:
            raise CommandFailed(
                "the device could not undo everything and goes on trying",
                detail=to_text(answer.out + answer.err),
            )

    def _start(self, silence_s: int) -> str:
        pattern = f"hotfleet-{self.console_id}-*"
        words = [b"lead", self.name.encode(), b"%d" % silence_s, pattern.encode()]
        self._process.write(render_program() + join_lines(words))
        try:
            line = self._answers.read_line(timeout_s=READY_TIMEOUT_S)
        except TimeoutError as error:
            raise ConnectionLost("the device did not start the program in time") from error
        if not line.startswith(b"ready /"):
            raise make_refusal(line, self._process.stderr_tail)
        return to_text(line.removeprefix(b"ready "))

    def _send_heartbeats(self) -> None:
        while not self._ended.wait(self._heartbeat_s):
            try:
                self._send(b"h\n")
            except (AgentError, OSError) as error:
                self._break(ConnectionLost(f"heartbeats do not reach the device: {error}"))
                return

    def _send(self, data: bytes) -> None:
        with self._write_lock:
            self._process.write(data)

    def _break(self, trouble: AgentError) -> None:
        if self._trouble is None:
            self._trouble = trouble
        self._ended.set()

    def _ask(
        self, verb: str, *words: str | int, value: str | None = None, lines: Sequence[bytes] = ()
    ) -> int:
        """Send a request and return its number: a line of words, then the value and the lines, escaped."""
        if self._trouble is not None:
            raise self._trouble
        if self._closed:
            raise DeviceHealed("the run on the device was closed already")
        self._number += 1
        head = " ".join(str(word) for word in (verb, self._number, *words)).encode()
        self._send(join_lines([head] if value is None else [head, escape_line(value)]))
        for line in lines:  # one at a time, so that a heartbeat gets in between
            self._send(line + b"\n")
        return self._number

    def _request(
        self,
        verb: str,
        *words: str | int,
        value: str | None = None,
        lines: Sequence[bytes] = (),
        timeout_s: float = ANSWER_TIMEOUT_S,
    ) -> Answer:
        with self._lock:
            number = self._ask(verb, *words, value=value, lines=lines)
            try:
                return self._await(number, timeout_s)
            except TimeoutError as error:
                self._break(ConnectionLost(f"the device did not answer {verb} within {timeout_s:g} s"))
                raise ConnectionLost(f"the device did not answer {verb} within {timeout_s:g} s") from error

    def _await(self, number: int, timeout_s: float) -> Answer:
        try:
            return self._answers.read_answer(number, timeout_s=timeout_s)
        except TimeoutError:
            raise
        except AgentError as error:
            self._break(error)
            raise

    def _end_step(self, number: int) -> Answer:
        self._send(b"k %d\n" % number)
        try:
            return self._await(number, _END_TIMEOUT_S)
        except TimeoutError as error:
            # Silence from now on: the device's reaper ends the run.
            self._break(CommandFailed("a step on the device cannot be ended; the device heals by itself"))
            raise CommandFailed("a step on the device cannot be ended; the device heals by itself") from error


def _stdin_chunks(command: Command) -> list[bytes]:
    if command.stdin is None:
        return []
    stdin = command.stdin
    return render_chunks(to_bytes(stdin.reveal()) if isinstance(stdin, Secret) else stdin)
