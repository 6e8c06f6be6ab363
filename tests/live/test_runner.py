"""The runner on this machine, under both shells: steps, the journal, files, long programs, leftovers."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agents.commands import Command, Secret
from agents.errors import (
    CommandFailed,
    DeviceBusy,
    DeviceHealed,
    FreezeTooLong,
    PlatformRefused,
    ProtocolBroken,
)
from agents.events import CommandRan, Event
from agents.facts import read_facts
from agents.leftovers import clean_leftovers, find_leftovers
from agents.runner import Bind, Runner
from agents.runner.bootstrap import make_bootstrap, render_program
from tests.backupsite.serve.processes import is_running
from tests.live.ground import wait_until
from tests.live.hearing import read_all
from tests.live.shells import PATIENT_S, ShellSession

CONSOLE = f"u{os.getpid()}"
NASTY = b"nul \0 newline\n\n percent %d backslash \\0101 quote ' bytes \xff\xfe end\n"
Open = Callable[..., Runner]


@pytest.fixture(params=["dash", "busybox"])
def shell(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def open_runner(live_ground: None, shell: str) -> Iterator[Open]:
    opened: list[Runner] = []

    def make(
        console_id: str = CONSOLE,
        run_id: str = "",
        told: list[Event] | None = None,
        silence_s: int = PATIENT_S,
    ) -> Runner:
        run_id = run_id or f"r{time.monotonic_ns():x}"
        tell = (lambda event: None) if told is None else told.append
        session = ShellSession(shell)
        runner = Runner(
            session, console_id=console_id, run_id=run_id, tell=tell, silence_s=silence_s, heartbeat_s=0.5
        )
        opened.append(runner)
        return runner

    yield make
    for runner in opened:
        try:
            runner.close()
        except (CommandFailed, DeviceHealed, ProtocolBroken):
            wait_until(lambda: not Path(runner.directory).exists(), what="the end of the run")  # noqa: B023


def test_bytes_go_through_unchanged(open_runner: Open) -> None:
    told: list[Event] = []
    runner = open_runner(told=told)
    result = runner.run(
        Command.of("sh", "-c", 'cat; printf %s "$1" >&2', "x", "a'\n\udcff$(id)\n", stdin=NASTY * 200)
    )
    assert result.stdout == NASTY * 200
    assert result.stderr == b"a'\n\xff$(id)\n"
    assert [type(event) for event in told] == [CommandRan]


def run_interrupted(runner: Runner, path: Path) -> None:
    """Run a step, and press Ctrl-C in its middle."""

    def press() -> None:
        wait_until(path.exists, what="the step")
        signal.raise_signal(signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    try:
        runner.run(Command.of("sh", "-c", ': >"$1"; sleep 300', "x", str(path)), timeout_s=300)
    finally:
        thread.join()


def test_ctrl_c_ends_the_step_and_stays_ctrl_c(open_runner: Open, tmp_path: Path) -> None:
    runner = open_runner()
    with pytest.raises(KeyboardInterrupt), runner:
        run_interrupted(runner, tmp_path / "began")
    assert not Path(runner.directory).exists()


def test_what_is_asked_after_ctrl_c_is_answered(open_runner: Open, tmp_path: Path) -> None:
    runner = open_runner()
    with pytest.raises(KeyboardInterrupt):
        run_interrupted(runner, tmp_path / "began")
    assert runner.run(Command.of("echo", "next")).text == "next\n"


def test_a_command_may_be_long(open_runner: Open) -> None:
    words = [f"{number:0100}" for number in range(5000)]  # half a megabyte; one argument may hold 128 KiB
    assert open_runner().run(Command.of("printf", "%s", *words)).stdout == "".join(words).encode()


def test_a_file_never_replaces_one_of_the_program(open_runner: Open) -> None:
    runner = open_runner()
    for name in ("healing", "deadline", "../x", "", ".x", "groups"):
        with pytest.raises(ValueError, match="not a name"):
            runner.write_file(name, b"x")


def test_a_failed_step_carries_its_last_words(open_runner: Open) -> None:
    runner = open_runner()
    failing = Command.of("sh", "-c", "echo why >&2; exit 3")
    with pytest.raises(CommandFailed) as failed:
        runner.run(failing)
    assert failed.value.detail == "why"
    assert runner.run(failing, check=False).status == 3


def test_a_step_that_takes_too_long_is_ended(open_runner: Open) -> None:
    runner = open_runner()
    with pytest.raises(CommandFailed, match="within"):
        runner.run(Command.of("sh", "-c", "trap '' TERM; sleep 77 & wait; sleep 77"), timeout_s=0.5)
    assert runner.run(Command.of("echo", "still here")).stdout == b"still here\n"


def test_a_busy_runner_keeps_its_deadline(open_runner: Open) -> None:
    assert (
        open_runner(silence_s=3).run(Command.of("sleep", "5")).status == 0
    )  # longer than the silence it allows


def test_a_secret_is_only_in_a_file_of_root(open_runner: Open) -> None:
    runner = open_runner()
    path = Path(runner.write_file("password", Secret("tr0ub4dor")))
    assert path.read_text() == "tr0ub4dor"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    program = runner.start(Command.of("sleep", "50"), environment={"RESTIC_PASSWORD": Secret("tr0ub4dor")})
    lines = b"".join(_read(each) for each in Path("/proc").glob("[0-9]*/cmdline"))
    assert b"tr0ub4dor" not in lines
    runner.stop(program)


def test_what_is_owed_is_undone_newest_first_and_a_failure_stops_nothing(
    open_runner: Open, tmp_path: Path
) -> None:
    runner = open_runner()
    diary, gate = tmp_path / "diary", tmp_path / "gate"
    for key in ("first", "second", "third"):
        words = f'echo {key} >>"$1"; [ {key} != second ] || [ -e "$2" ]'
        runner.owe(key, Command.of("sh", "-c", words, "x", str(diary), str(gate)))
    with pytest.raises(CommandFailed, match="could not undo"):
        runner.close()
    assert diary.read_text().split() == ["third", "second", "first"]
    gate.touch()
    wait_until(lambda: not Path(runner.directory).exists(), what="the reaper's next try")
    assert set(diary.read_text().split()[3:]) == {"second"}  # what succeeded is never undone again


def test_settling_strikes_and_a_failed_undo_stays_owed(open_runner: Open, tmp_path: Path) -> None:
    runner = open_runner()
    gate = tmp_path / "gate"
    runner.owe("thaw", Command.of("test", "-e", str(gate)))
    with pytest.raises(ValueError, match="owed already"):
        runner.owe("thaw", Command.of("true"))
    with pytest.raises(CommandFailed):
        runner.settle("thaw")
    gate.touch()
    runner.settle("thaw")
    with pytest.raises(ValueError, match="not owed"):
        runner.settle("thaw")


def test_a_freeze_ends_by_itself_although_the_console_lives(open_runner: Open, tmp_path: Path) -> None:
    runner = open_runner()
    thawed = tmp_path / "thawed"
    runner.owe("thaw", Command.of("touch", str(thawed)), within_s=1)
    wait_until(thawed.exists, timeout_s=60, what="the thaw")
    with pytest.raises(FreezeTooLong):
        runner.settle("thaw")


def test_a_long_program_sees_the_bind_and_nobody_else_does(open_runner: Open, tmp_path: Path) -> None:
    frozen, live = tmp_path / "it's\nfrozen", tmp_path / "li ve\\"
    for directory, text in ((frozen, "old"), (live, "new")):
        directory.mkdir()
        (directory / "file").write_text(text)
    script = 'cat "$1/file"; touch "$1/w" || echo no; echo problem >&2; exit 7'
    runner = open_runner()
    program = runner.start(
        Command.of("sh", "-c", script, "x", str(live)), environment={}, binds=[Bind(str(frozen), str(live))]
    )
    assert program.wait(timeout_s=60) == 7
    assert read_all(program) == b"oldno\n"
    assert b"problem" in program.stderr_tail
    assert (live / "file").read_text() == "new"
    assert str(live) not in Path("/proc/self/mountinfo").read_text()


def test_a_source_of_everything_gets_a_root_of_its_own(open_runner: Open, tmp_path: Path) -> None:
    frozen, live = tmp_path / "frozen", tmp_path / "live"
    for directory, text in ((frozen, "old"), (live, "new")):
        directory.mkdir()
        (directory / "file").write_text(text)
    runner = open_runner()
    password = runner.write_file("password", Secret("tr0ub4dor"))
    script = 'cat "$1/file" "$2"; ls / | grep -c "^etc$"; : >/dev/null && touch "$1/w" /etc/w || echo no'
    program = runner.start(
        Command.of("sh", "-c", script, "x", str(live), password),
        environment={},
        binds=[Bind(str(frozen), str(live)), Bind("/", "/")],
    )
    assert program.wait(timeout_s=60) == 0
    assert read_all(program) == b"oldtr0ub4dor1\nno\n"


def test_scratch_stays_writable_under_a_bind(open_runner: Open, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    runner = open_runner()
    program = runner.start(
        Command.of("sh", "-c", 'touch "$1/cache/yes"; touch "$1/no"', "x", str(tmp_path)),
        environment={},
        binds=[Bind(str(tmp_path), str(tmp_path))],
        scratch=[str(tmp_path / "cache")],
    )
    assert program.wait(timeout_s=60) == 1
    assert [path.name for path in tmp_path.rglob("*")] == ["cache", "yes"]


def test_a_bind_of_what_is_not_there_is_refused(open_runner: Open, tmp_path: Path) -> None:
    with pytest.raises(PlatformRefused, match="true path"):
        open_runner().start(Command.of("true"), environment={}, binds=[Bind("/nonexistent", str(tmp_path))])


def test_a_namespace_that_stays_shared_is_refused(open_runner: Open, tmp_path: Path) -> None:
    """The mistake of util-linux before 2.27 and of a seccomp filter: nothing was made private."""
    runner = open_runner()
    blind = tmp_path / "mount"
    blind.write_text("#!/bin/sh\nexit 0\n")
    blind.chmod(0o755)
    program = Path(runner.directory, "program")
    text = program.read_text().replace("PATH=/usr/local/sbin:", f"PATH={tmp_path}:/usr/local/sbin:")
    program.write_text(text.replace("unshare -m ", "unshare -m --propagation shared "))
    with pytest.raises(PlatformRefused, match="hide a snapshot"):
        runner.start(Command.of("true"), environment={}, binds=[Bind(str(tmp_path), str(tmp_path))])


def test_closing_the_channel_ends_a_program(open_runner: Open) -> None:
    runner = open_runner()
    program = runner.start(Command.of("sh", "-c", "echo $$; exec sleep 60"), environment={})
    pid = int(program.read(timeout_s=60))
    program.close()
    wait_until(lambda: not is_running(pid), timeout_s=40, what="the end of the program")


def test_two_runs_of_a_console_do_not_meet(open_runner: Open) -> None:
    first = open_runner()
    with pytest.raises(DeviceBusy, match=first.name):
        open_runner()
    stranger = open_runner(console_id=f"{CONSOLE}x")
    assert (True, first.directory) in stranger.list_runs()


def test_leftovers_of_the_dead_go_and_foreign_ones_stay(open_runner: Open, tmp_path: Path) -> None:
    runner = open_runner(run_id="now")
    base = Path(runner.directory).parent
    dead, foreign = base / f"hotfleet-{CONSOLE}-dead", base / f"hotfleet-{CONSOLE}x-dead"
    for directory in (dead, foreign):
        (directory / "owed").mkdir(parents=True)
        (directory / "owed" / "100001.undo").write_text(f"touch {tmp_path}/{directory.name}\n")
    try:
        facts = read_facts(runner)
        found = [each for each in find_leftovers(runner, facts) if CONSOLE in each.path]
        assert {each.path for each in found} == {str(dead), str(foreign)}
        stays = clean_leftovers(runner, found)
        assert [(each.path, reason) for each, reason in stays] == [(str(foreign), "another console made it")]
        assert not dead.exists()
        assert [path.name for path in tmp_path.iterdir()] == [dead.name]
    finally:
        shutil.rmtree(foreign)


def test_a_changed_program_is_not_evaluated(live_ground: None, shell: str) -> None:
    process = ShellSession(shell).start(make_bootstrap(is_elevated=False))
    process.write(render_program().replace(b"reap", b"rexp"))
    assert read_all(process) == b"refused program checksum\n"
    assert process.wait(timeout_s=60) == 126


def test_a_closed_run_answers_nothing(open_runner: Open) -> None:
    runner = open_runner()
    runner.close()
    runner.close()
    with pytest.raises(DeviceHealed):
        runner.run(Command.of("true"))


def test_threads_may_share_a_runner(open_runner: Open) -> None:
    runner = open_runner()
    said: list[bytes] = []
    threads = [
        threading.Thread(
            target=lambda number=number: said.append(runner.run(Command.of("echo", str(number))).stdout)
        )
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(said) == [b"%d\n" % number for number in range(8)]


def test_an_answer_that_is_too_long_is_not_taken(open_runner: Open) -> None:
    with pytest.raises(ProtocolBroken):
        open_runner().run(Command.of("head", "-c", "5000000", "/dev/zero"))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
