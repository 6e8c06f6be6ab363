"""A repository in an object store, worked on by the server's own restic: a real server, and faults of it."""

from __future__ import annotations

import base64
import http.server
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from agents.commands import Secret
from agents.errors import RepositoryBroken
from agents.gateway import StoreFailed, Target
from agents.gateway.objects import ObjectStore
from agents.gateway.objects_account import Account, ObjectKind, connect
from agents.gateway.store import StoreUnreachable
from agents.gateway.target import Kind
from agents.maintaining.copying import copy_snapshots
from agents.objects import ObjectLocation
from agents.restic.binary import Binary, find_binary
from agents.restic.repository import create, open_repository
from tests.agents.gateway_ground import PASSWORD, RECOVERY
from tests.agents.object_ground import ObjectServer, serve_objects

CONFIG = Target(Kind.CONFIG, "")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    with serve_objects(tmp_path_factory.mktemp("objects")) as running:
        yield running


@pytest.fixture(scope="module")
def binary() -> Binary:
    return find_binary([Path(sys.executable).with_name("restic")])


def location_of(account: Account, folder: str, spool: Path) -> ObjectLocation:
    return ObjectLocation(account, folder, spool, is_conditional=False)


class Going:
    def raise_if_stopped(self) -> None:
        return None

    def is_current(self) -> bool:
        return True


def test_restic_stores_reads_checks_copies_and_removes(
    server: ObjectServer, binary: Binary, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(content := os.urandom(3_000_000))
    first = location_of(server.account(), "first", tmp_path)
    create(first, PASSWORD, RECOVERY, binary)
    with pytest.raises(RepositoryBroken, match="already"):
        create(first, PASSWORD, RECOVERY, binary)
    second = tmp_path / "second"
    create(second, PASSWORD, RECOVERY, binary)
    with open_repository(first, PASSWORD, binary) as here, open_repository(second, PASSWORD, binary) as there:
        point = here.store([str(tmp_path / "file")], host="device", tags=["a"])
        assert b"".join(here.dump_file(point, str(tmp_path / "file"))) == content
        here.check(read_data=True)
        (done,) = copy_snapshots(here, there, [point], tell=lambda event: None, control=Going())
        with open_repository(first, PASSWORD, binary, without_snapshots=True) as hidden:
            (back,) = copy_snapshots(there, hidden, [done[point]], tell=lambda event: None, control=Going())
        assert {info.snapshot_id for info in here.list_snapshots()} == {point} != set(back.values())
        here.forget([point])
        here.prune()
        assert here.list_snapshots() == []
    names = [str(each.relative_to(server.root)) for each in server.files() if "/first/" in str(each)]
    assert not [name for name in names if "/data/" in name or "/locks/" in name or "/snapshots/" in name]


def test_a_wrong_key_a_missing_bucket_and_a_missing_repository_say_what_to_do(
    server: ObjectServer, tmp_path: Path
) -> None:
    for account, said, remedy in (
        (server.account(secret="another"), "does not allow this", "the account's secret"),
        (server.account(bucket="nothing"), "bucket does not exist", "bucket's name"),
        (server.account(), "no repository in this part", "something removed"),
    ):
        with pytest.raises(StoreFailed, match=said) as caught:
            location_of(account, "missing", tmp_path).open_store()
        assert remedy in caught.value.remedy
        assert not caught.value.retryable


@contextmanager
def answering(status: int, code: str) -> Iterator[str]:
    """A server that answers everything with one error, or hangs up where the status is 0."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.close_connection = True
            if not status:
                return
            body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = answer

        def log_message(self, format: str, *args: object) -> None:
            return None

    with _serving(Handler) as url:
        yield url


@contextmanager
def _serving(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.server_port}"
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()


@contextmanager
def hanging_up(part: float) -> Iterator[str]:
    """A server that keeps this part of what is sent, and hangs up without an answer."""
    kept: list[int] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.close_connection = True
            length = int(self.headers["Content-Length"])
            self.rfile.read(length)
            kept.append(int(length * part))

        def do_HEAD(self) -> None:
            self.send_response(200 if kept else 404)
            self.send_header("Content-Length", str(kept[-1] if kept else 0))
            self.send_header("Last-Modified", "Mon, 23 Nov 2026 00:00:00 GMT")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            return None

    with _serving(Handler) as url:
        yield url


@pytest.mark.parametrize("part", [1.0, 0.5])
def test_a_file_that_was_cut_off_is_never_taken_for_stored(
    server: ObjectServer, tmp_path: Path, part: float
) -> None:
    with hanging_up(part) as endpoint:
        client = connect(replace(server.account(), endpoint=endpoint), request_s=5, retries_s=0.1)
        store = ObjectStore(client, "repository", tmp_path, is_conditional=False, retry_until_s=60)
        upload = store.begin(Target(Kind.DATA, "a" * 64))
        upload.write(b"data" * 1000)
        with nullcontext() if part == 1 else pytest.raises(StoreFailed, match="not whole"):
            assert upload.publish(), "sent, though its answer was lost"
        upload.discard()


@pytest.mark.parametrize(
    ("status", "code", "kind", "is_full"),
    [
        (507, "", StoreFailed, True),
        (403, "QuotaExceeded", StoreFailed, True),
        (403, "AccessDenied", StoreFailed, False),
        (403, "RequestTimeTooSkewed", StoreFailed, False),
        (400, "ExpiredToken", StoreFailed, False),
        (503, "SlowDown", StoreUnreachable, False),
        (0, "", StoreUnreachable, False),
    ],
)
def test_what_a_store_answers_becomes_an_error_that_knows_whether_later_helps(
    server: ObjectServer, tmp_path: Path, status: int, code: str, kind: type[StoreFailed], is_full: bool
) -> None:
    with answering(status, code) as endpoint:
        client = connect(replace(server.account(), endpoint=endpoint), request_s=5, retries_s=1)
        store = ObjectStore(client, "repository", tmp_path, is_conditional=True, retry_until_s=0)
        upload = store.begin(Target(Kind.DATA, "a" * 64))
        upload.write(b"data")
        with pytest.raises(StoreFailed) as caught:
            upload.publish()
        upload.discard()
    assert type(caught.value) is kind
    assert caught.value.out_of_space is is_full
    assert caught.value.retryable is (kind is StoreUnreachable)
    assert caught.value.remedy


def test_a_store_that_goes_away_is_what_the_error_says_and_not_what_restic_made_of_it(
    binary: Binary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.gateway.objects_account.RETRIES_S", 1.0)
    with serve_objects(tmp_path / "server") as server:
        place = location_of(server.account(), "repository", tmp_path)
        create(place, PASSWORD, RECOVERY, binary)
        with open_repository(place, PASSWORD, binary) as repository:
            server.stop()
            with pytest.raises(StoreUnreachable, match="does not answer"):
                repository.list_snapshots()


def test_google_and_azure_accounts_become_clients_and_what_is_no_account_says_so() -> None:
    key = base64.b64encode(b"a key of the account").decode()
    assert connect(Account(ObjectKind.AZURE, "container", Secret(key), "ours", prefix="fleet"))
    for broken in (Account(ObjectKind.GCS, "bucket", Secret("no key file")),):
        with pytest.raises(StoreFailed, match="account of the object store is not one") as caught:
            connect(broken)
        assert "no key file" not in str(caught.value)
