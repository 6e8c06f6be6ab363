"""How files come in: whole, durable, never over another one, and without a trace when something fails."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from agents.gateway import LocalStore, StoreFailed, Timeouts
from tests.agents.gateway_ground import Client, Ground, ground, make_layout, name_of, request, small_disk

__all__ = ["ground", "small_disk"]

CONTENT = os.urandom(700_000)
NAME = name_of(CONTENT)
TARGET = f"/data/{NAME}"


def test_a_content_under_a_wrong_name_is_refused(ground: Ground) -> None:
    client = ground.client()
    before = ground.files()
    assert client.ask("POST", TARGET, CONTENT[:-1] + b"x").status == 403
    assert ground.files() == before
    assert client.ask("POST", TARGET, CONTENT).status == 200  # the connection still works


def test_an_upload_that_is_cut_leaves_nothing(ground: Ground) -> None:
    client = ground.client()
    before = ground.files()
    client.send(request("POST", TARGET, CONTENT)[:-1])
    client.close()
    assert ground.files() == before


def test_the_same_file_once_more_is_fine(ground: Ground) -> None:
    client = ground.client()
    assert client.ask("POST", TARGET, CONTENT).status == 200
    status = os.stat(ground.root / "data" / NAME[:2] / NAME)
    assert client.ask("POST", TARGET, CONTENT).status == 200
    assert os.stat(ground.root / "data" / NAME[:2] / NAME).st_ino == status.st_ino
    assert os.listdir(ground.root / "tmp") == []


def test_an_existing_file_is_never_overwritten_even_when_damaged(ground: Ground) -> None:
    damaged = ground.root / "index" / NAME
    damaged.write_bytes(b"rotten")
    gateway = ground.gateway()
    assert Client(gateway).ask("POST", f"/index/{NAME}", CONTENT).status == 403
    assert damaged.read_bytes() == b"rotten"
    assert "damaged" in gateway.refusals[0].reason


@pytest.mark.parametrize(
    ("kind", "size"),
    [("data", 144 << 20), ("index", 64 << 20), ("snapshots", 1 << 20), ("locks", 1 << 20)],
)
def test_what_is_too_large_is_refused_before_it_is_read(ground: Ground, kind: str, size: int) -> None:
    client = ground.client()
    before = ground.files()
    client.send(request("POST", f"/{kind}/{NAME}", None, Content_Length=str(size + 1)))
    assert client.read().status == 403
    assert ground.files() == before
    client.close()


def test_the_largest_snapshot_is_taken(ground: Ground) -> None:
    content = b"x" * (1 << 20)
    assert ground.client().ask("POST", f"/snapshots/{name_of(content)}", content).status == 200


@pytest.mark.parametrize("length", ["-1", "1e3", "0x10", "99999999999999999999999", "1, 2"])
def test_a_senseless_length_is_refused(ground: Ground, length: str) -> None:
    client = ground.client()
    client.send(request("POST", TARGET, None, Content_Length=length))
    assert client.read().status in (400, 403)
    assert client.is_ended()


def test_an_upload_must_announce_its_length(ground: Ground) -> None:
    client = ground.client()
    assert client.ask("POST", TARGET).status == 411
    client.send(request("POST", TARGET, None, Transfer_Encoding="chunked") + b"1\r\nx\r\n0\r\n\r\n")
    answer = client.read()
    assert (answer.status, answer.headers["connection"]) == (411, "close")
    assert client.is_ended()


def test_an_empty_file_is_refused(ground: Ground) -> None:
    assert ground.client().ask("POST", f"/data/{name_of(b'')}", b"").status == 403


def test_a_client_that_asks_first_is_told_to_go_on(ground: Ground) -> None:
    client = ground.client()
    head, body = request("POST", TARGET, CONTENT, Expect="100-continue").split(b"\r\n\r\n", 1)
    client.send(head + b"\r\n\r\n")
    assert client.read(has_body=False).status == 100
    client.send(body)
    assert client.read().status == 200


def test_a_client_that_asks_first_is_refused_without_its_body(ground: Ground) -> None:
    client = ground.client()
    client.send(request("POST", f"/keys/{NAME}", None, Expect="100-continue", Content_Length="700000"))
    assert client.read().status == 403
    assert client.is_ended()


def test_a_silent_upload_ends_and_leaves_nothing(ground: Ground) -> None:
    client = ground.client(timeouts=Timeouts(idle_s=60, head_s=0.3, body_s=0.3))
    before = ground.files()
    client.send(request("POST", TARGET, CONTENT)[:1000])
    assert client.is_ended()
    assert ground.files() == before


def test_a_head_that_drips_is_cut_off(ground: Ground) -> None:
    client = ground.client(timeouts=Timeouts(idle_s=60, head_s=0.5, body_s=60))
    began = time.monotonic()
    with suppress(OSError):
        for byte in request("GET", "/config", X="y" * 10_000):
            client.send(bytes([byte]))
            time.sleep(0.02)
    assert time.monotonic() - began < 100  # all of it takes 200 s


def test_a_paused_client_may_be_silent_between_requests(ground: Ground) -> None:
    client = ground.client(timeouts=Timeouts(idle_s=60, head_s=0.2, body_s=0.2))
    assert client.ask("GET", "/config").status == 200
    time.sleep(0.6)
    assert client.ask("GET", "/config").status == 200


def test_an_endless_head_is_refused(ground: Ground) -> None:
    client = ground.client()
    client.send(b"GET /config HTTP/1.1\r\nX: " + b"y" * 100_000)
    assert client.read().status == 400
    client.close()


def test_ranges(ground: Ground) -> None:
    client = ground.client()
    client.ask("POST", TARGET, CONTENT)
    size = len(CONTENT)
    for asked, start, end in (("bytes=0-", 0, size), ("bytes=5-9", 5, 10), ("bytes=699999-", 699_999, size)):
        answer = client.ask("GET", TARGET, Range=asked)
        assert (answer.status, answer.body) == (206, CONTENT[start:end])
        assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"
    assert client.ask("GET", TARGET, Range="bytes=600000-9999999").body == CONTENT[600_000:]
    for asked in ("bytes=700000-", "bytes=9-5", "bytes=-5", "bytes=0-1,3-4", "lines=1-2", "bytes=a-b"):
        assert client.ask("GET", TARGET, Range=asked).status == 416
    assert client.ask("HEAD", TARGET).headers["content-length"] == str(size)


def test_pipelined_requests_are_answered_in_order(ground: Ground) -> None:
    client = ground.client()
    client.send(request("POST", TARGET, CONTENT) + request("GET", TARGET) + request("GET", "/config"))
    assert client.read().status == 200
    assert client.read().body == CONTENT
    assert client.read().body == b"a config"


def test_many_connections_may_send_the_same_file_at_once(ground: Ground) -> None:
    gateway = ground.gateway()
    statuses: list[int] = []

    def send() -> None:
        statuses.append(Client(gateway).ask("POST", TARGET, CONTENT).status)

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert statuses == [200] * 8
    assert gateway.stored_bytes == len(CONTENT)
    assert os.listdir(ground.root / "tmp") == []


def test_the_answer_comes_after_file_name_and_journal_are_durable(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, link, sendall = os.fsync, os.link, Client.read

    def record_fsync(fd: int) -> None:
        steps.append("fsync " + os.path.relpath(os.readlink(f"/proc/self/fd/{fd}"), ground.root.parent))
        fsync(fd)

    def record_link(source: str, name: str, **options: Any) -> None:
        steps.append(f"link {name}")
        link(source, name, **options)

    client = ground.client()
    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "link", record_link)
    client.send(request("POST", f"/snapshots/{name_of(b's')}", b"s"))
    assert sendall(client).status == 200
    temporary, *rest = steps
    assert temporary.startswith("fsync repository/tmp/")
    assert rest == [f"link {name_of(b's')}", "fsync repository/snapshots", "fsync journal"]


def test_no_space_is_a_final_refusal_that_is_remembered(ground: Ground, small_disk: Path) -> None:
    root = make_layout(small_disk / "repository")
    with LocalStore(root) as store:
        gateway = ground.gateway(store=store)
        client = Client(gateway)
        assert client.ask("POST", TARGET, CONTENT).status == 200
        content = os.urandom(8_000_000)
        assert client.ask("POST", f"/data/{name_of(content)}", content).status == 403
        assert gateway.out_of_space and "no space" in gateway.refusals[0].reason
        assert os.listdir(root / "tmp") == []
        assert client.ask("GET", TARGET).body == CONTENT
        assert client.ask("POST", f"/locks/{name_of(b'l')}", b"l").status == 200  # the space came back
        client.close()
        gateway.close()


def test_a_full_disk_is_remembered_after_a_hundred_other_refusals(ground: Ground, small_disk: Path) -> None:
    with LocalStore(make_layout(small_disk / "repository")) as store:
        gateway = ground.gateway(store=store)
        client = Client(gateway)
        for number in range(120):
            client.ask("DELETE", f"/data/{number:064x}")
        content = os.urandom(9_000_000)
        client.ask("POST", f"/data/{name_of(content)}", content)
        assert gateway.out_of_space and len(gateway.refusals) == 100
        client.close()
        gateway.close()


def test_a_journal_that_cannot_be_written_means_that_nothing_was_stored(ground: Ground) -> None:
    gateway = ground.gateway()
    client = Client(gateway)
    ground._opened[0][1].close()  # its disk is gone
    before = ground.files()
    assert client.ask("POST", TARGET, CONTENT).status == 403
    assert ground.files() == before
    assert gateway.stored_bytes == 0


def test_a_directory_without_a_repository_is_refused(tmp_path: Path) -> None:
    for root in (tmp_path / "missing", tmp_path):  # the second: a mount that is not there
        with pytest.raises(StoreFailed):
            LocalStore(root)
    assert list(tmp_path.iterdir()) == []


def test_what_a_crash_left_can_be_removed(ground: Ground) -> None:
    with LocalStore(ground.root) as store:
        (ground.root / "tmp" / "left").write_bytes(b"half")
        assert store.remove_temporary() == 1
    assert ground.files() == {"config"}


def test_closing_waits_for_an_upload_to_go_away(ground: Ground) -> None:
    gateway = ground.gateway()
    client = Client(gateway)
    before = ground.files()
    client.send(request("POST", TARGET, CONTENT)[:-1])
    deadline = time.monotonic() + 60
    while not os.listdir(ground.root / "tmp"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    gateway.close()
    assert ground.files() == before
    client.close()
