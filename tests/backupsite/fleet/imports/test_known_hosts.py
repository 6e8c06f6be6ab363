"""Keys that somebody saw before, found as ssh finds them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from agents.ssh.keys import HostKey
from backupsite.fleet.imports.known_hosts import KnownHosts, parse_known_hosts

LINES: dict[str, str] = {}


@pytest.fixture(scope="module", autouse=True)
def _keys(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Real keys, made once."""
    for name, kind in (("a", "ed25519"), ("b", "ed25519"), ("c", "ecdsa")):
        file = tmp_path_factory.mktemp("keys") / name
        subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(file)], check=True)
        LINES[name] = " ".join(file.with_suffix(".pub").read_text().split()[:2])


def fingerprint(name: str, tmp_path: Path) -> str:
    file = tmp_path / "key.pub"
    file.write_text(LINES[name] + "\n")
    said = subprocess.run(["ssh-keygen", "-lf", str(file)], capture_output=True, text=True, check=True)
    return said.stdout.split()[1]


def prints(keys: list[HostKey]) -> list[str]:
    return [key.fingerprint for key in keys]


def notes(known: KnownHosts) -> list[tuple[int, str]]:
    return [(note.line, note.sentence) for note in known.notes]


def test_a_machine_is_known_by_its_address_and_port(tmp_path: Path) -> None:
    known = parse_known_hosts(
        f"db.example.org,10.0.0.1 {LINES['a']} somebody\n"
        f"[db.example.org]:2222 {LINES['b']}\n"
        f"10.0.0.1 {LINES['c']}\n"
    )
    assert prints(known.keys_of("10.0.0.1", 22)) == [fingerprint("a", tmp_path), fingerprint("c", tmp_path)]
    assert prints(known.keys_of("DB.example.org", 2222)) == [fingerprint("b", tmp_path)]
    assert known.keys_of("10.0.0.1", 2222) == []
    assert known.count == 3


def test_hashed_names_are_found(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(f"db.example.org {LINES['a']}\n[10.0.0.1]:2222 {LINES['b']}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(file)], check=True, capture_output=True)
    text = file.read_text()
    assert "db.example.org" not in text
    known = parse_known_hosts(text)
    assert prints(known.keys_of("db.example.org", 22)) == [fingerprint("a", tmp_path)]
    assert prints(known.keys_of("10.0.0.1", 2222)) == [fingerprint("b", tmp_path)]
    assert known.keys_of("10.0.0.1", 22) == []


def test_a_revoked_key_is_known_by_nobody() -> None:
    known = parse_known_hosts(f"db {LINES['a']}\n@revoked * {LINES['a']}\ndb {LINES['b']}\n")
    assert len(known.keys_of("db", 22)) == 1


@pytest.mark.parametrize(
    ("line", "begins"),
    [
        ("db ssh-ed25519", "This is no line of known_hosts"),
        ("@cert-authority", "This is no line of known_hosts"),
        ("@cert-authority *.example.org {a}", "@cert-authority is not taken"),
        ("*.example.org {a}", "*.example.org is a pattern"),
        ("db ssh-dss AAAA", "Keys of the type ssh-dss are not taken."),
        ("db ssh-ed25519 AAAA", "The key in this line is damaged."),
        ("db ssh-rsa {blob}", "The key in this line is damaged."),
        ("db ssh-ed25519 é", "The key in this line is damaged."),
        ("|1|x {a}", "The hashed name in this line is damaged."),
        ("|1|x|y|z {a}", "The hashed name in this line is damaged."),
    ],
)
def test_what_is_passed_over_is_said(line: str, begins: str) -> None:
    text = line.format(a=LINES["a"], blob=LINES["a"].split()[1])
    known = parse_known_hosts(f"# comment\n\n{text}\n")
    ((number, sentence),) = notes(known)
    assert (number, sentence[: len(begins)]) == (3, begins)
    assert known.keys_of("db", 22) == []
    assert known.keys_of("x.example.org", 22) == []


def test_more_lines_than_anybody_keeps_are_not_read() -> None:
    (note,) = parse_known_hosts("db\n" * 20_001).notes[-1:]
    assert note.is_error
    hashed = f"|1|AAAA|AAAA {LINES['a']}\n"
    (note,) = parse_known_hosts(hashed * 1001).notes
    assert (note.line, note.is_error) == (1001, True)
