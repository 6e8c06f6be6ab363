"""Every store of the gateway keeps one contract: a directory, and an object store over a real server."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.gateway import Kind, LocalStore, Target
from agents.gateway.objects import ObjectStore
from agents.gateway.objects_account import connect
from agents.gateway.store import OpenStore
from tests.agents.gateway_ground import make_layout
from tests.agents.object_ground import serve_objects

CONTENT = b"a pack " * 200_000
PACK = Target(Kind.DATA, hashlib.sha256(CONTENT).hexdigest())
LOCK = Target(Kind.LOCKS, "5" * 64)


@pytest.fixture(params=["directory", "object store"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenStore]:
    if request.param == "directory":
        with LocalStore(make_layout(tmp_path / "repository")) as local:
            yield local
        return
    with serve_objects(tmp_path / "server") as server:
        # rclone's server ignores conditions: this is the harder way of the two.
        yield ObjectStore(connect(server.account()), "repository", tmp_path, is_conditional=False)


def put(store: OpenStore, target: Target, content: bytes) -> bool:
    upload = store.begin(target)
    try:
        upload.write(content)
        return upload.publish()
    finally:
        upload.discard()


def read(store: OpenStore, target: Target, start: int, end: int) -> bytes:
    reader = store.open(target)
    assert reader is not None
    reader.expect(end)
    try:
        found = b""
        while start + len(found) < end:
            piece = reader.read(start + len(found), min(65536, end - start - len(found)))
            assert piece
            found += piece
        return found
    finally:
        reader.close()


def test_what_is_published_is_there_whole_and_is_never_overwritten(store: OpenStore) -> None:
    assert store.size(PACK) is None and store.open(PACK) is None
    assert put(store, PACK, CONTENT)
    assert not put(store, PACK, b"another one")
    assert store.size(PACK) == len(CONTENT)
    assert read(store, PACK, 0, len(CONTENT)) == CONTENT
    assert read(store, PACK, 700_001, 900_000) == CONTENT[700_001:900_000]
    assert list(store.list(Kind.DATA)) == [(PACK.name, len(CONTENT))]


def test_what_is_not_published_is_not_there(store: OpenStore) -> None:
    upload = store.begin(PACK)
    upload.write(CONTENT)
    upload.discard()
    upload.discard()
    assert store.size(PACK) is None
    assert list(store.list(Kind.DATA)) == []


def test_removing_and_moving_out_leave_nothing_and_may_be_repeated(store: OpenStore, tmp_path: Path) -> None:
    aside = tmp_path / "repository.quarantine" / "run"
    aside.mkdir(parents=True)
    put(store, LOCK, b"a lock")
    put(store, PACK, CONTENT)
    for _ in range(2):
        store.remove(LOCK)
        store.move_out(PACK, aside)
    assert list(store.list(Kind.LOCKS)) == list(store.list(Kind.DATA)) == []
    kept = [each for each in tmp_path.rglob(f"{PACK.kind}-{PACK.name}") if each.is_file()]
    assert [each.read_bytes() for each in kept] == [CONTENT]
