"""The way to a device, against a real sshd."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agents.commands import Command, Secret
from agents.errors import (
    CommandFailed,
    ConnectFailed,
    ConnectionLost,
    HostKeyChanged,
    HostKeyUnknown,
    KeyRefused,
    PlatformRefused,
    PrivilegeMissing,
)
from agents.ssh import Target, connect, fetch_host_keys, make_key_pair, sudoers_line
from agents.ssh.session import SshSession
from tests.live.ground import HOST_KEY_TYPES, Device, command, wait_until

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def session(device: Device) -> Iterator[SshSession]:
    session = device.connect()
    yield session
    session.close()


def logins_seen(device: Device) -> int:
    """How often somebody tried to log in. sshd's debug log tells each attempt."""
    return device.sshd_log.count("userauth-request for user")


def test_it_runs_a_command_as_root(session: SshSession, device: Device) -> None:
    result = session.run(Command.of("sh", "-c", "id -u; echo noise >&2; exit 3"), timeout_s=60)
    assert (result.status, result.stdout, result.stderr) == (3, b"0\n", b"noise\n")
    assert session.label == f"root@{device.address}:22"
    assert session.is_elevated is False


def test_it_uses_gcm_and_the_pinned_type(session: SshSession) -> None:
    transport = session._link.transport
    assert transport.local_cipher == "aes128-gcm@openssh.com"
    assert transport.remote_host_key().key_type == "ssh-ed25519"


@pytest.mark.parametrize("place", range(len(HOST_KEY_TYPES)))
def test_each_type_of_pinned_key_is_asked_for(device: Device, place: int) -> None:
    pinned = device.host_keys[place]
    session = connect(device.target(), private_key=device.key_pair.private_key, host_keys=[pinned])
    assert session._link.transport.remote_host_key() == pinned
    session.close()


def test_host_keys_are_fetched_without_a_login(device: Device) -> None:
    found = fetch_host_keys(device.target(), 10)
    assert found == device.host_keys
    printed = command("ssh-keygen", "-lf", device.directory / "host_ed25519.pub").stdout
    assert found[0].fingerprint == printed.split()[1]
    assert logins_seen(device) == 0


def test_without_an_approved_key_nothing_is_sent(device: Device) -> None:
    # The ground's own look whether sshd greets is written down to its end first.
    wait_until(lambda: re.search(r"Connection (reset|closed) by", device.sshd_log) is not None)
    before = device.sshd_log
    with pytest.raises(HostKeyUnknown):
        connect(device.target(), private_key=device.key_pair.private_key, host_keys=[])
    assert device.sshd_log == before


def test_a_changed_host_key_stops_before_the_login(device: Device) -> None:
    approved = device.host_keys[:1]
    device.swap_host_key()
    with pytest.raises(HostKeyChanged) as refusal:
        connect(device.target(), private_key=device.key_pair.private_key, host_keys=approved)
    assert approved[0].fingerprint in refusal.value.message
    assert device.host_keys[0].fingerprint in refusal.value.message
    assert logins_seen(device) == 0
    # The control: the same log does show a login.
    device.connect().close()
    assert logins_seen(device) > 0


def test_a_device_without_the_approved_type_is_a_changed_device(device: Device) -> None:
    approved = device.host_keys[:1]
    device.configure(HostKeyAlgorithms="rsa-sha2-512,ecdsa-sha2-nistp256")
    with pytest.raises(HostKeyChanged) as refusal:
        connect(device.target(), private_key=device.key_pair.private_key, host_keys=approved)
    assert device.host_keys[1].fingerprint in refusal.value.message
    assert logins_seen(device) == 0


def test_a_device_with_old_ciphers_only_is_refused(make_device: Callable[..., Device]) -> None:
    device = make_device(Ciphers="aes128-cbc")
    with pytest.raises(PlatformRefused, match="no algorithm"):
        device.connect()


def test_a_wrong_key_is_refused_with_the_line_to_paste(device: Device) -> None:
    other = make_key_pair("other")
    with pytest.raises(KeyRefused) as refusal:
        connect(device.target(), private_key=other.private_key, host_keys=device.host_keys)
    assert " ".join(other.public_line.split()[:2]) in refusal.value.remedy


def test_a_device_that_takes_no_keys_says_so(make_device: Callable[..., Device]) -> None:
    device = make_device(PubkeyAuthentication="no", PasswordAuthentication="yes")
    with pytest.raises(KeyRefused, match="does not take keys"):
        device.connect()


def test_a_device_that_wants_more_than_the_key_says_so(make_device: Callable[..., Device]) -> None:
    device = make_device(
        PasswordAuthentication="yes", PermitRootLogin="yes", AuthenticationMethods="publickey,password"
    )
    with pytest.raises(KeyRefused, match="wants more: password"):
        device.connect()


def test_a_refused_port(device: Device) -> None:
    target = Target(device.address, 2222, "root")
    with pytest.raises(ConnectFailed, match="refuses connections"):
        connect(target, private_key=device.key_pair.private_key, host_keys=device.host_keys)


def test_a_device_that_is_off(device: Device) -> None:
    device.cut()
    started = time.monotonic()
    with pytest.raises(ConnectFailed, match=r"does not answer|no route"):
        device.connect(timeout_s=2)
    assert time.monotonic() - started < 60  # the system itself tries for two minutes


def test_a_user_with_the_sudo_rule_is_elevated(device: Device) -> None:
    user = device.make_user(may_sudo=True)
    session = device.connect(user)
    assert session.is_elevated
    become_root = Command.of("sudo", "-n", "/bin/sh", "-c", "id -u; cat", stdin=Secret("word\n"))
    assert session.run(become_root, timeout_s=60).stdout == b"0\nword\n"
    session.close()


def test_a_user_without_the_sudo_rule_is_told_the_rule(device: Device) -> None:
    user = device.make_user(may_sudo=False)
    threads = threading.active_count()
    with pytest.raises(PrivilegeMissing) as refusal:
        device.connect(user)
    assert sudoers_line(user) in refusal.value.remedy
    wait_until(lambda: threading.active_count() <= threads, what="the end of the connection's threads")


def test_visudo_accepts_the_rule(tmp_path: Path) -> None:
    rule = tmp_path / "rule"
    rule.write_text(sudoers_line("backup-1") + "\n")
    rule.chmod(0o440)
    command("visudo", "-c", "-f", rule)


def test_an_account_that_may_not_log_in_is_named(device: Device) -> None:
    user = device.make_user(may_sudo=True, shell="/usr/sbin/nologin")
    with pytest.raises(PrivilegeMissing, match=f"{user}.* may not log in") as refusal:
        device.connect(user)
    assert "not available" in refusal.value.detail and "usermod --shell" in refusal.value.remedy


def test_a_forced_command_is_named(device: Device) -> None:
    device.authorize("root", f'command="echo hello" {device.key_pair.public_line}')
    with pytest.raises(PrivilegeMissing, match="does not start commands") as refusal:
        device.connect()
    assert refusal.value.detail == "hello"


def test_a_talkative_login_shell_does_not_spoil_the_output(device: Device) -> None:
    shell = device.directory / "talkative"
    shell.write_text('#!/bin/sh\necho "Welcome! 0"; echo warning >&2; exec /bin/bash "$@"\n')
    shell.chmod(0o755)
    user = device.make_user(may_sudo=True, shell=str(shell))
    session = device.connect(user)
    assert session.run(Command.of("printf", "%s", "a"), timeout_s=60).stdout == b"a"
    process = session.start(Command.of("cat", stdin=b"first"))
    assert process.read(timeout_s=60) == b"first"
    process.close()
    session.close()


def test_endless_noise_is_not_read_for_ever(device: Device) -> None:
    shell = device.directory / "endless"
    shell.write_text("#!/bin/sh\nexec yes\n")
    shell.chmod(0o755)
    user = device.make_user(may_sudo=True, shell=str(shell))
    with pytest.raises(PrivilegeMissing, match="login shell"):
        device.connect(user)


WORDS = [
    "a b",
    "'",
    '"',
    "$HOME",
    "`id`",
    "\\",
    "\\0101",
    "a\nb",
    "!x",
    "",
    "-n",
    "ä",
    "\udcff",
    "*",
    "%s",
    "~",
]


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])
def test_words_arrive_as_they_are(device: Device, shell: str) -> None:
    user = device.make_user(may_sudo=True, shell=shell)
    session = device.connect(user)
    result = session.run(Command.of("printf", "%s\\0", *WORDS), timeout_s=60)
    assert result.text.split("\0")[:-1] == WORDS
    session.close()


def test_a_cut_network_ends_a_long_command(session: SshSession, device: Device) -> None:
    process = session.start(Command.of("sleep", "600"))
    device.cut()
    with pytest.raises(ConnectionLost):  # TimeoutError when nobody notices
        process.read(timeout_s=60)
    with pytest.raises(ConnectionLost):
        session.run(Command.of("true"), timeout_s=60)
    device.heal()


def test_a_cut_network_ends_a_writer(session: SshSession, device: Device) -> None:
    process = session.start(Command.of("sleep", "600"))
    device.cut()
    started = time.monotonic()
    with pytest.raises(ConnectionLost):
        process.write(b"x" * 200_000_000)
    assert time.monotonic() - started < 120  # the system itself sends again for a quarter of an hour


def test_a_stopped_sshd_is_noticed(session: SshSession, device: Device) -> None:
    process = session.start(Command.of("sleep", "600"))
    stopped = device.session_pids()
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    with pytest.raises(ConnectionLost, match="silent"):
        process.wait(timeout_s=60)


def test_a_killed_sshd_is_noticed_at_once(session: SshSession, device: Device) -> None:
    process = session.start(Command.of("sleep", "600"))
    for pid in device.session_pids():
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(ConnectionLost) as lost:
        process.read(timeout_s=60)
    assert "silent" not in lost.value.message  # not by the watchdog, which waits for an answer first


def test_a_busy_but_quiet_command_is_not_lost(session: SshSession) -> None:
    assert session.run(Command.of("sleep", "18"), timeout_s=60).status == 0


STAND_STILL = """
import sys
from agents.commands import Command, Secret
from agents.ssh import HostKey, Target, connect
key, address, blob = sys.stdin.readline(), sys.stdin.readline().strip(), sys.stdin.readline()
session = connect(
    Target(address, 22, "root"),
    private_key=Secret(key.replace("|", chr(10))),
    host_keys=[HostKey("ssh-ed25519", bytes.fromhex(blob))],
)
print("ready", flush=True)
sys.stdin.readline()
print(session.run(Command.of("echo", "on"), timeout_s=60).text, flush=True)
"""


@pytest.mark.slow
def test_a_console_that_stood_still_does_not_blame_the_device(device: Device) -> None:
    pipe = subprocess.PIPE
    words = [sys.executable, "-c", STAND_STILL]
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True, cwd=ROOT) as console:
        assert console.stdin is not None and console.stdout is not None
        key = device.key_pair.private_key.reveal().replace("\n", "|")
        console.stdin.write(f"{key}\n{device.address}\n{device.host_keys[0].blob.hex()}\n")
        console.stdin.flush()
        assert console.stdout.readline() == "ready\n"
        console.send_signal(signal.SIGSTOP)
        time.sleep(20)
        console.send_signal(signal.SIGCONT)
        console.stdin.write("\n")
        console.stdin.flush()
        assert console.stdout.readline() == "on\n"


def test_no_further_channel_is_said_clearly(make_device: Callable[..., Device]) -> None:
    device = make_device(MaxSessions="1")
    session = device.connect()
    process = session.start(Command.of("cat"))
    with pytest.raises(CommandFailed, match="no further session"):
        session.run(Command.of("true"), timeout_s=60)
    process.close()
    session.close()


def test_a_thousand_small_runs_leave_nothing_behind(device: Device) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    # Not root: what root's own shell start-up files do here is not what is tested.
    session = device.connect(device.make_user(may_sudo=True))
    session.run(Command.of("true"), timeout_s=60)
    before = (threading.active_count(), descriptors())
    for number in range(1000):
        result = session.run(Command.of("echo", str(number), stdin=b"x"), timeout_s=60)
        assert result.stdout == f"{number}\n".encode()
    wait_until(lambda: threading.active_count() <= before[0], what="the end of the threads")
    assert descriptors() <= before[1]
    session.close()


def test_a_closed_session_leaves_nothing_behind(device: Device) -> None:
    before = (threading.active_count(), len(os.listdir("/proc/self/fd")))
    for _ in range(10):
        session = device.connect()
        session.run(Command.of("true"), timeout_s=60)
        session.close()
        session.close()
    wait_until(lambda: threading.active_count() <= before[0], what="the end of the threads")
    assert len(os.listdir("/proc/self/fd")) <= before[1]
    with pytest.raises(ConnectionLost):
        session.run(Command.of("true"), timeout_s=60)
