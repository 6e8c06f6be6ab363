"""restic's key files in Python, against the real restic."""

from __future__ import annotations

import base64
import hashlib
import json
import pickle
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.commands import Secret
from agents.errors import RepositoryBroken
from agents.restic.binary import Binary
from agents.restic.keys import MasterKey, make_cheap_key, make_run_key, open_key, open_master_key
from tests.agents.gateway_ground import PASSWORD, RECOVERY, _template, binary, repository_path

__all__ = ["_template", "binary", "repository_path"]

MASTER = MasterKey(bytes(range(32)), bytes(range(16)), bytes(range(16, 32)))


@given(st.binary(max_size=5000))
def test_what_is_encrypted_can_be_decrypted(plain: bytes) -> None:
    assert MASTER.decrypt(MASTER.encrypt(plain)) == plain


@given(st.binary(min_size=1, max_size=100), st.data())
def test_every_flipped_bit_is_noticed(plain: bytes, data: st.DataObject) -> None:
    sealed = bytearray(MASTER.encrypt(plain))
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ValueError):
        MASTER.decrypt(bytes(sealed))


def test_both_passwords_open_the_same_master_key(repository_path: Path) -> None:
    master = open_master_key(repository_path, PASSWORD)
    assert open_master_key(repository_path, RECOVERY) == master
    with pytest.raises(RepositoryBroken):
        open_master_key(repository_path, Secret("wrong"))


def test_it_is_the_master_key_that_restic_knows(repository_path: Path, binary: Binary) -> None:
    environment = {"RESTIC_REPOSITORY": str(repository_path), "RESTIC_PASSWORD": RECOVERY.reveal()}
    shown = subprocess.run(
        [binary.path, "cat", "--no-cache", "masterkey"], env=environment, capture_output=True, check=True
    )
    master = open_master_key(repository_path, PASSWORD)
    config = json.loads(master.decrypt((repository_path / "config").read_bytes()))
    assert config["version"] == 2
    assert json.loads(shown.stdout)["encrypt"] == base64.b64encode(master.encryption).decode()


def test_a_run_key_opens_with_its_password_and_no_other() -> None:
    key = make_run_key(MASTER)
    assert key.name == hashlib.sha256(key.content).hexdigest()
    assert open_key(key.content, key.password) == MASTER
    assert open_key(key.content, Secret("wrong")) is None
    assert make_run_key(MASTER).password != key.password


def test_only_the_consoles_key_is_cheap(repository_path: Path) -> None:
    costs = {}
    for file in (repository_path / "keys").iterdir():
        record = json.loads(file.read_text())
        costs[record["username"]] = record["N"] * record["r"] * record["p"]
    assert costs.pop("console") < 10_000
    assert min(costs.values()) > 200_000 and len(costs) == 1


def test_the_programs_own_way_with_the_consoles_password(repository_path: Path, binary: Binary) -> None:
    environment = {"RESTIC_REPOSITORY": str(repository_path), "RESTIC_PASSWORD": PASSWORD.reveal()}
    words = [str(binary.path), "--no-cache", "key", "list", "--json"]
    listed = subprocess.run(words, env=environment, capture_output=True, check=True)
    current = [key["userName"] for key in json.loads(listed.stdout) if key["current"]]
    assert current == ["console"]


def test_a_repository_that_the_program_made_alone_opens(binary: Binary, tmp_path: Path) -> None:
    environment = {"RESTIC_REPOSITORY": str(tmp_path / "plain"), "RESTIC_PASSWORD": "short"}
    subprocess.run([binary.path, "--no-cache", "init"], env=environment, capture_output=True, check=True)
    assert open_master_key(tmp_path / "plain", Secret("short")).encryption


def test_a_damaged_key_is_not_in_the_way(repository_path: Path) -> None:
    (repository_path / "keys" / ("0" * 64)).write_bytes(b"junk")
    assert open_master_key(repository_path, PASSWORD).encryption


def test_a_password_that_a_person_made_gets_no_cheap_key() -> None:
    with pytest.raises(ValueError, match="random"):
        make_cheap_key(MASTER, Secret("correct horse battery staple"), user="console")


def test_keys_do_not_show_themselves() -> None:
    key = make_run_key(MASTER)
    shown = f"{key!r} {MASTER!r} {key} {MASTER}"
    assert key.password.reveal() not in shown
    assert "\\x00\\x01" not in shown and "encryption" not in shown
    with pytest.raises(TypeError):
        pickle.dumps(key)


@pytest.mark.parametrize(
    "change",
    [
        {"kdf": "pbkdf2"},
        {"N": 1 << 40},
        {"N": 0},
        {"N": 3},
        {"r": 1 << 30},
        {"p": -1},
        {"salt": "AAAA"},
        {"salt": "!"},
        {"data": None},
        {"N": "x"},
    ],
)
def test_a_senseless_key_file_is_not_computed(change: dict[str, object]) -> None:
    key = make_run_key(MASTER)
    with pytest.raises(RepositoryBroken):
        open_key(json.dumps(json.loads(key.content) | change).encode(), key.password)


@pytest.mark.parametrize("content", [b"", b"junk", b"[]", b"null", b"{}"])
def test_a_file_that_is_no_key_is_said_to_be_damaged(content: bytes) -> None:
    with pytest.raises(RepositoryBroken):
        open_key(content, PASSWORD)


def test_a_missing_repository_is_said_to_be_broken(tmp_path: Path) -> None:
    with pytest.raises(RepositoryBroken):
        open_master_key(tmp_path / "missing", PASSWORD)
