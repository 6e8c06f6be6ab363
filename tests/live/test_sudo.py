"""Users who are not root: each way in which sudo can be set up works, or says what is wrong."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from pathlib import Path

import pytest

from agents.commands import Command
from agents.errors import PrivilegeMissing
from agents.runner import Bind, Runner
from agents.ssh import sudoers_line
from tests.live.ground import Device, command
from tests.live.hearing import read_all

WORKS = [
    "use_pty",
    "!use_pty",
    "requiretty",
    "secure_path=/usr/bin\\:/bin",
    "secure_path=/nowhere",
    "lecture=always",
    "!env_reset",
    "env_keep+=ENV",
    "log_output, iolog_dir=/run/{user}-io",
    "umask=0777, umask_override",
    "closefrom=3",
]


def make_user(device: Device, *rules: str, shell: str = "/bin/sh") -> str:
    """Make a user with these lines of sudoers. {user} is the name. The file goes with the device."""
    user = device.make_user(may_sudo=True, shell=shell)
    path = Path("/etc/sudoers.d") / f"hotfleet-ground-{user}"
    draft = device.directory / "sudoers"
    draft.write_text("".join(f"{rule.replace('{user}', user)}\n" for rule in rules))
    draft.chmod(0o440)
    command("visudo", "-c", "-f", draft)
    shutil.copy(draft, path)
    return user


@pytest.mark.parametrize("option", WORKS)
def test_a_run_works_whatever_sudo_does_by_default(device: Device, option: str) -> None:
    user = make_user(device, f"Defaults:{{user}} {option}", sudoers_line("{user}"))
    session = device.connect(user)
    assert session.is_elevated
    run_id = f"r{time.monotonic_ns():x}"
    runner = Runner(session, console_id=f"s{os.getpid()}", run_id=run_id, tell=lambda event: None)
    try:
        assert runner.run(Command.of("id", "-u")).stdout == b"0\n"
        program = runner.start(
            Command.of("sh", "-c", "id -u; touch /etc/no || echo kept"),
            environment={},
            binds=[Bind("/etc", "/etc")],
        )
        assert program.wait(timeout_s=60) == 0
        assert read_all(program) == b"0\nkept\n"
        payload = os.urandom(4_000_000)  # every byte, as restic is sent
        sent = session.run(
            Command.of("sudo", "-n", "/bin/sh", "-c", "exec /usr/bin/sha256sum", stdin=payload), timeout_s=30
        )
        assert sent.text.split()[0] == hashlib.sha256(payload).hexdigest()
    finally:
        runner.close()
        session.close()
        shutil.rmtree(f"/run/{user}-io", ignore_errors=True)
    assert not Path(runner.directory).exists()


REFUSED = [
    (("{user} ALL=(root) /bin/sh",), "asks .* for a password", "NOPASSWD"),
    (("Defaults:{user} lecture=always", "{user} ALL=(root) /bin/sh"), "asks .* for a password", "NOPASSWD"),
    (("{user} ALL=(root) NOPASSWD: /bin/true",), "asks .* for a password", "NOPASSWD"),
    (("{user} ALL=(root) NOPASSWD: ALL, !/bin/sh",), "does not allow .* to run /bin/sh", "/bin/sh"),
    (
        (sudoers_line("{user}"), "Defaults:{user} requiretty"),
        "wants a terminal .*requiretty",
        "must come after",
    ),
    (
        (sudoers_line("{user}"), "{user} ALL=(root) PASSWD: /bin/sh"),
        "asks .* for a password",
        "takes it back",
    ),
    ((), "asks .* for a password", "NOPASSWD"),
]


@pytest.mark.parametrize(("rules", "message", "remedy"), REFUSED)
def test_each_refusal_has_its_own_sentence(
    device: Device, rules: tuple[str, ...], message: str, remedy: str
) -> None:
    user = make_user(device, *rules)
    with pytest.raises(PrivilegeMissing, match=message) as refusal:
        device.connect(user)
    assert remedy in refusal.value.remedy and sudoers_line(user) in refusal.value.remedy


def test_a_device_without_sudo(device: Device) -> None:
    """A PATH without sudo is what a device without it looks like."""
    tools = device.directory / "tools"
    tools.mkdir()
    for name in ("sh", "id", "env", "printf"):
        (tools / name).symlink_to(shutil.which(name) or "")
    shell = device.directory / "poor"
    shell.write_text(f'#!/bin/sh\nPATH={tools}\nexport PATH\nexec /bin/sh "$@"\n')
    shell.chmod(0o755)
    user = make_user(device, sudoers_line("{user}"), shell=str(shell))
    with pytest.raises(PrivilegeMissing, match="sudo is not installed") as refusal:
        device.connect(user)
    assert "Install sudo" in refusal.value.remedy
