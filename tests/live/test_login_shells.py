"""Login shells: what is between sshd and our /bin/sh must not matter, or is told."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from agents.commands import Command
from agents.errors import ConnectFailed, KeyRefused, PrivilegeMissing
from agents.runner import Bind, Runner
from tests.live.ground import Device, command
from tests.live.test_ssh import WORDS

NOISE = 'echo "Welcome to 0"; echo warning >&2; printf "\\033[1mbold\\033[0m no newline"\n'
# A shell, and the file of its start-up that prints in a session without a terminal.
SHELLS = {
    "dash": "",
    "busybox": "",
    "bash": ".bashrc",
    "zsh": ".zshenv",
    "fish": ".config/fish/config.fish",
}


def find_shell(device: Device, name: str) -> str:
    """Return a shell of this machine. busybox is what its name says that it is."""
    found = shutil.which(name)
    assert found is not None, f"{name} is not installed"
    if name != "busybox":
        return found
    (device.directory / "ash").symlink_to(found)
    return str(device.directory / "ash")


def make_user(device: Device, name: str) -> str:
    user = device.make_user(may_sudo=True, shell=find_shell(device, name))
    if SHELLS[name]:
        file = device.directory / f"home-{user}" / SHELLS[name]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(NOISE)
        for each in (file, *file.parents):
            if device.directory in each.parents:
                shutil.chown(each, user)
    return user


@pytest.mark.parametrize("name", SHELLS)
def test_words_and_whole_runs_pass_through_each_shell(device: Device, name: str) -> None:
    user = make_user(device, name)
    session = device.connect(user)
    result = session.run(Command.of("printf", "%s\\0", *WORDS), timeout_s=60)
    assert result.text.split("\0")[:-1] == WORDS
    assert session.run(Command.of("sh", "-c", "exit 3"), timeout_s=60).status == 3
    assert session.run(Command.of("no-such-program"), timeout_s=60).status == 127
    payload = os.urandom(300_000)
    assert session.run(Command.of("cat", stdin=payload), timeout_s=60).stdout == payload
    runner = Runner(
        session, console_id=f"s{os.getpid()}", run_id=f"r{time.monotonic_ns():x}", tell=lambda event: None
    )
    program = runner.start(
        Command.of("sh", "-c", "echo hello; touch /etc/no || exit 4"),
        environment={},
        binds=[Bind("/etc", "/etc")],
    )
    assert program.read(timeout_s=60) == b"hello\n" and program.wait(timeout_s=60) == 4
    runner.close()
    session.close()
    assert not Path(runner.directory).exists()


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_the_noise_is_really_there(device: Device, name: str) -> None:
    """Without our mark it would stand before every answer."""
    user = make_user(device, name)
    session = device.connect(user)
    channel = session._link.open_channel()
    channel.exec_command(b"echo answer")
    heard = b""
    while piece := channel.recv(1000):
        heard += piece
    session.close()
    assert heard.startswith(b"Welcome to 0") and heard.endswith(b"answer\n")


@pytest.mark.parametrize(
    ("shell", "message"),
    [("/usr/sbin/nologin", "may not log in"), ("/bin/false", "does not start commands")],
)
def test_a_shell_that_runs_nothing_is_told(device: Device, shell: str, message: str) -> None:
    user = device.make_user(may_sudo=True, shell=shell)
    with pytest.raises(PrivilegeMissing, match=message) as refusal:
        device.connect(user)
    assert "usermod --shell" in refusal.value.remedy


def test_start_up_files_that_take_too_long_are_told(device: Device) -> None:
    user = make_user(device, "bash")
    (device.directory / f"home-{user}" / ".bashrc").write_text("sleep 30\n")
    with pytest.raises(ConnectFailed, match="no command is started within 6 s") as refusal:
        device.connect(user, timeout_s=6)
    assert ".bashrc" in refusal.value.remedy


def test_an_expired_password_and_account_are_told(device: Device) -> None:
    device.configure(UsePAM="yes")
    user = device.make_user(may_sudo=True)
    device.connect(user).close()
    command("chage", "-d", "0", user)
    with pytest.raises(PrivilegeMissing, match=r"password of the account .* has expired") as refusal:
        device.connect(user)
    assert "chage" in refusal.value.remedy
    command("chage", "-d", "2026-01-01", "-E", "0", user)
    with pytest.raises(KeyRefused) as refused:
        device.connect(user)
    assert "locked or expired" in refused.value.remedy


def test_a_forced_sftp_is_told(device: Device) -> None:
    device.configure(ForceCommand="internal-sftp")
    with pytest.raises(PrivilegeMissing, match=r"SFTP only|does not start commands") as refusal:
        device.connect()
    assert "ForceCommand" in refusal.value.remedy
