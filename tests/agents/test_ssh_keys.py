"""The console's key, the lines to paste, and fingerprints."""

from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path

import pytest

from agents.commands import Secret
from agents.ssh import HostKey, Target, authorized_keys_line, connect, make_key_pair, sudoers_line
from agents.ssh.keys import signatures_of


def test_openssh_reads_our_key_pair(tmp_path: Path) -> None:
    pair = make_key_pair("hotfleet console")
    private = tmp_path / "key"
    private.touch(mode=0o600)
    private.write_text(pair.private_key.reveal())
    printed = subprocess.check_output(["ssh-keygen", "-y", "-f", private], text=True)
    assert printed.split()[:2] == pair.public_line.split()[:2]
    assert pair.public_line.endswith(" hotfleet console")


def test_a_fingerprint_is_what_openssh_prints(tmp_path: Path) -> None:
    line = make_key_pair("x").public_line
    (tmp_path / "key.pub").write_text(line)
    printed = subprocess.check_output(["ssh-keygen", "-lf", tmp_path / "key.pub"], text=True)
    assert HostKey("ssh-ed25519", base64.b64decode(line.split()[1])).fingerprint == printed.split()[1]


def test_the_private_key_does_not_show_itself() -> None:
    pair = make_key_pair("x")
    assert "PRIVATE" not in repr(pair)
    assert "PRIVATE" not in f"{pair}"


def test_two_keys_differ() -> None:
    assert make_key_pair("x").public_line != make_key_pair("x").public_line


@pytest.mark.parametrize("comment", ["a\nssh-ed25519 AAAA evil", "a\0", "a\rb", "ä", "a\tb"])
def test_a_comment_cannot_add_a_line(comment: str) -> None:
    with pytest.raises(ValueError, match="plain ASCII"):
        make_key_pair(comment)


def test_the_line_to_paste_restricts_the_key() -> None:
    line = make_key_pair("console").public_line
    assert authorized_keys_line(line) == f'restrict,port-forwarding,permitlisten="127.0.0.1:*" {line}'


@pytest.mark.parametrize(
    "line", ["", "ssh-rsa AAAA x", "ssh-ed25519 AA\nssh-ed25519 AA", 'command="x" ssh-ed25519 AA']
)
def test_only_a_public_line_becomes_a_line_to_paste(line: str) -> None:
    with pytest.raises(ValueError, match="public line"):
        authorized_keys_line(line)


def test_the_sudo_rule_allows_the_shell_and_nothing_else() -> None:
    assert sudoers_line("backup") == "Defaults:backup !requiretty\nbackup ALL=(root) NOPASSWD: /bin/sh"


def test_signatures_are_those_of_the_pinned_types_without_sha1() -> None:
    assert signatures_of(["ssh-rsa", "ssh-ed25519"]) == ("ssh-ed25519", "rsa-sha2-512", "rsa-sha2-256")
    with pytest.raises(ValueError, match="ssh-dss"):
        signatures_of(["ssh-dss"])


def test_a_broken_private_key_is_our_mistake_and_not_the_devices() -> None:
    with pytest.raises(ValueError, match="private key"):
        connect(
            Target("db1.invalid", 22, "root"),
            private_key=Secret("x"),
            host_keys=[HostKey("ssh-ed25519", b"x")],
        )


def test_paramiko_is_not_loaded_before_something_connects() -> None:
    # 21 MB that the web process, which only shows keys and checks names, must not pay.
    script = (
        "import sys, agents.ssh, agents.ssh.names\n"
        "print('paramiko' in sys.modules)\n"
        "agents.ssh.connect\n"
        "print('paramiko' in sys.modules)"
    )
    root = Path(__file__).resolve().parents[2]
    printed = subprocess.check_output([sys.executable, "-c", script], text=True, cwd=root)
    assert printed.split() == ["False", "True"]
