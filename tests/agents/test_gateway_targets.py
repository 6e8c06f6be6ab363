"""The grammar of paths: what is not exactly a repository's path does not exist."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.gateway.target import Kind, Target, parse_target
from tests.agents.gateway_ground import Ground, ground

__all__ = ["ground"]

NAME = "0123456789abcdef" * 4
HOSTILE = [
    b"",
    b"*",
    b"//",
    b"///",
    b"/.",
    b"/..",
    b"/../",
    b"/../config",
    b"/./config",
    b"//config",
    b"/config/",
    b"/config/..",
    b"/config?",
    b"/config?x=1",
    b"/config#",
    b"/config;x",
    b"/config%00",
    b"/config%20",
    b"/config\x00",
    b"/config.",
    b"/config~",
    b"/Config",
    b"/CONFIG",
    b"/%63onfig",
    b"/%2e%2e/config",
    b"/..%2fconfig",
    b"/..%252fconfig",
    b"/..\\config",
    b"/\\config",
    b"config",
    b"http://127.0.0.1/config",
    b"/?create=true",
    b"/?create=false",
    b"?create=true",
    b"/other/?create=true",
    b"/other/config",
    b"/evil/dir/file.txt",
    b"/data",
    b"/keys",
    b"/locks",
    b"/data//",
    b"/data/.",
    b"/data/..",
    b"/data/../config",
    b"/data/../keys/" + NAME.encode(),
    b"/data/01/" + NAME.encode(),
    b"/data/" + NAME.encode() + b"/",
    b"/data/" + NAME.encode() + b"?",
    b"/data/" + NAME.encode() + b"\n",
    b"/data/" + NAME.encode() + b"\x00",
    b"/data/" + NAME.encode() + b"/..",
    b"/data/" + NAME.upper().encode(),
    b"/data/" + NAME[:-1].encode(),
    b"/data/" + NAME.encode() + b"0",
    b"/data/" + NAME[:-1].encode() + b"g",
    b"/data/" + NAME[:-3].encode() + b"%30",
    b"/data/" + "٠".encode() * 32,
    b"/data/" + "а".encode() * 32,
    b"/tmp/" + NAME.encode(),
    b"/tmp/",
    b"/data/tmp",
    b"/index/" + NAME.encode() + b".tmp",
    b"/index/./" + NAME.encode(),
    b"/snapshots/*",
    b"/snapshots/latest",
    b"/keys/../data/",
    b"/keys/" + NAME.encode() + b" ",
    b" /keys/" + NAME.encode(),
    b"/locks/" + NAME.encode() + b"\r\nX: y",
    b"/etc/passwd",
    b"/proc/self/environ",
    b"/data/" + b"a" * 5000,
    b"/\xff\xfe",
    b"/data/\xc0\xae\xc0\xae/config",
    b"/data/%c0%ae%c0%ae/config",
]


def test_there_are_enough_hostile_targets() -> None:
    assert len(set(HOSTILE)) >= 60


@pytest.mark.parametrize("raw", HOSTILE)
def test_a_hostile_target_names_nothing(raw: bytes) -> None:
    assert parse_target(raw) is None


# What a request line can carry at all; the rest never gets past h11.
SENDABLE = [raw for raw in HOSTILE if raw and re.fullmatch(rb"[\x21-\x7e]+", raw)]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE"])
def test_a_hostile_target_is_not_found_by_any_method(ground: Ground, method: str) -> None:
    client = ground.client()
    before = ground.files()
    for raw in SENDABLE:
        body = b"x" if method == "POST" else None
        assert client.ask(method, raw, body).status == 404, raw
    assert ground.files() == before
    client.close()


@pytest.mark.parametrize("raw", [raw for raw in HOSTILE if raw not in SENDABLE])
def test_an_unprintable_target_ends_the_connection_at_most_with_an_error(ground: Ground, raw: bytes) -> None:
    client = ground.client()
    before = ground.files()
    client.send(b"GET " + raw + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.read().status in (400, 401)
    assert ground.files() == before
    client.close()


def test_the_true_paths_are_understood() -> None:
    assert parse_target(b"/") == Target(Kind.ROOT)
    assert parse_target(b"/config") == Target(Kind.CONFIG, "")
    for kind in (Kind.KEYS, Kind.LOCKS, Kind.SNAPSHOTS, Kind.INDEX, Kind.DATA):
        assert parse_target(f"/{kind}/".encode()) == Target(kind)
        assert parse_target(f"/{kind}/{NAME}".encode()) == Target(kind, NAME)


@given(st.binary(max_size=100))
def test_whatever_parses_is_what_came(raw: bytes) -> None:
    target = parse_target(raw)
    if target is not None:
        assert str(target).encode() == raw


@given(st.text(alphabet="/.%2ef0123456789abcdefcongkysdt?\\\n", max_size=80))
def test_no_text_of_path_letters_leaves_the_grammar(text: str) -> None:
    target = parse_target(text.encode())
    if target is not None and target.name:
        assert re.fullmatch(r"[0-9a-f]{64}", target.name)
        assert text == f"/{target.kind}/{target.name}"


@given(
    st.sampled_from([Kind.KEYS, Kind.LOCKS, Kind.SNAPSHOTS, Kind.INDEX, Kind.DATA]),
    st.binary(min_size=32, max_size=32),
)
def test_every_name_is_understood(kind: Kind, digest: bytes) -> None:
    assert parse_target(f"/{kind}/{digest.hex()}".encode()) == Target(kind, digest.hex())
