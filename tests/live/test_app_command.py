"""Any command as a stream: what it prints is stored, and what failed is never a restore point."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

import pytest

from agents.applications import Patience, applications
from agents.errors import AgentError, PlanRefused, ResticFailed
from agents.events import Consistency
from agents.plan import SourceRequest
from tests.live.flows import Console, assert_device_is_clean
from tests.live.ground import Device, wait_until


@pytest.fixture
def console(device: Device, tmp_path: Path) -> Console:
    return Console(device, tmp_path)


def request_for(line: str, name: str = "out.txt") -> SourceRequest:
    return SourceRequest(application="command", instance=name, command=line)


def restore_text(console: Console, restic_id: str, name: str = "out.txt") -> str:
    target = Path("/var/lib") / f"restored-{console.id}"
    try:
        console.restore(restic_id, "/", target)
        return (target / name).read_text()
    finally:
        subprocess.run(["rm", "-rf", str(target)], check=True)


def test_what_a_command_prints_is_restored_under_its_name(console: Console) -> None:
    line = 'printf \'%s\\n\' "a \'quoted\' line" "$(id -u)" "$PATH" "$HOME" | sort -r; echo done'
    (point,) = console.back_up(request_for(line)).points
    assert (point.source, point.part) == ("command:out.txt", "out.txt")
    assert (point.method, point.consistency) == ("stream", Consistency.NONE)
    text = restore_text(console, point.restic_id)
    assert text.splitlines()[-1] == "done"
    assert {"a 'quoted' line", "0", "/root"} <= set(text.splitlines())
    assert_device_is_clean(console)


@pytest.mark.parametrize(
    "line",
    [
        "echo half; exit 3",
        "echo half; kill -9 $$",
        "echo half; false; echo more",
        "{ echo half; exit 1; } | cat",
        "sh -c 'echo half; kill -9 $$' | gzip",
        "echo half | no-such-program-anywhere",
        "echo half; if",
    ],
)
def test_a_command_that_fails_never_becomes_a_restore_point(console: Console, line: str) -> None:
    with pytest.raises(ResticFailed):
        console.back_up(request_for(line))
    assert console.count_restore_points() == 0
    assert_device_is_clean(console)


def test_a_command_that_is_killed_in_the_middle_never_becomes_a_restore_point(
    console: Console, tmp_path: Path
) -> None:
    record = tmp_path / "pid"
    line = f"echo half; sh -c 'echo $$ >{record}; exec sleep 60' | cat"
    failures: list[AgentError] = []

    def work() -> None:
        try:
            console.back_up(request_for(line))
        except AgentError as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    wait_until(
        lambda: record.exists() and record.read_text().strip() != "", timeout_s=120, what="the command"
    )
    os.kill(int(record.read_text()), 9)
    thread.join(60)
    assert [type(error) for error in failures] == [ResticFailed]
    assert console.count_restore_points() == 0
    assert_device_is_clean(console)


def test_the_line_is_no_word_of_a_program_and_no_variable_of_its_children(console: Console) -> None:
    """Every user of a device sees the words of every program."""
    word = f"hunter{console.id}"
    # the words of the program that runs the line, and the environment of a program that it starts
    line = f": {word}; tr '\\0' ' ' </proc/$$/cmdline; env"
    (point,) = console.back_up(request_for(line)).points
    text = restore_text(console, point.restic_id)
    assert "PATH=" in text and "eval" in text
    assert word not in text and "RESTIC_" not in text and "HOTFLEET_LINE=" not in text


def test_a_device_whose_only_shell_has_no_pipefail_refuses_a_pipe(console: Console) -> None:
    """Debian's dash alone, as on a device without bash: what cannot be noticed is not promised."""
    application = applications()["command"]
    for line, is_refused in (("echo a | cat", True), ("false || echo 'b'", False), ("echo c", False)):
        instance = application.describe("name", line)
        assert instance is not None
        (stream,) = application.recipe(instance, "stream", Patience(), "").streams
        words = ("env", "-i", f"PATH={console.place.path.parent}/bin", *stream.producer.argv)
        tools = console.place.path.parent / "bin"
        tools.mkdir(exist_ok=True)
        for tool in ("sed", "cat"):
            (tools / tool).unlink(missing_ok=True)
            (tools / tool).symlink_to(f"/usr/bin/{tool}")
        done = subprocess.run(words, executable="/usr/bin/env", capture_output=True, text=True)
        assert (done.returncode == 125, "pipe" in done.stderr) == (is_refused, is_refused), done
        assert bool(done.stdout) is not is_refused


def test_a_command_is_never_cold_and_its_name_is_a_file_name(console: Console) -> None:
    with pytest.raises(PlanRefused, match="no service"):
        console.back_up(SourceRequest(application="command", instance="x", command="true", mode="cold"))
    for name in ("", "a/b", "..", "new\nline", ".hidden"):
        with pytest.raises(PlanRefused, match="not a name"):
            console.back_up(request_for("true", name))
    with pytest.raises(PlanRefused, match="empty or longer"):
        console.back_up(request_for("  "))
