"""Who may do what through the gateway."""

from __future__ import annotations

import base64
import json
import time

import pytest

from agents.gateway import KeyFile, Kind, Rights, read_journal
from tests.agents.gateway_ground import Client, Ground, ground, name_of

__all__ = ["ground"]

CONTENT = b"some encrypted bytes"
NAME = name_of(CONTENT)
OTHER = name_of(b"another")


@pytest.mark.parametrize("kind", ["data", "index", "snapshots", "locks"])
def test_a_backup_adds_files_and_reads_them(ground: Ground, kind: str) -> None:
    client = ground.client()
    assert client.ask("HEAD", f"/{kind}/{NAME}").status == 404
    assert client.ask("POST", f"/{kind}/{NAME}", CONTENT).status == 200
    assert client.ask("HEAD", f"/{kind}/{NAME}").headers["content-length"] == str(len(CONTENT))
    assert client.ask("GET", f"/{kind}/{NAME}").body == CONTENT
    assert json.loads(client.ask("GET", f"/{kind}/").body) == [NAME]
    answer = client.ask("GET", f"/{kind}/", Accept="application/vnd.x.restic.rest.v2")
    assert answer.headers["content-type"] == "application/vnd.x.restic.rest.v2"
    assert json.loads(answer.body) == [{"name": NAME, "size": len(CONTENT)}]


@pytest.mark.parametrize("kind", ["data", "index", "snapshots"])
def test_a_restore_adds_nothing_but_locks(ground: Ground, kind: str) -> None:
    client = ground.client(rights=Rights.RESTORE)
    before = ground.files()
    assert client.ask("POST", f"/{kind}/{NAME}", CONTENT).status == 403
    assert ground.files() == before
    assert client.ask("POST", f"/locks/{NAME}", CONTENT).status == 200
    assert client.ask("DELETE", f"/locks/{NAME}").status == 200


@pytest.mark.parametrize("target", ["/config", f"/keys/{NAME}"])
def test_nobody_writes_keys_or_config(ground: Ground, target: str) -> None:
    client = ground.client()
    before = ground.files()
    assert client.ask("POST", target, CONTENT).status == 403
    assert client.ask("DELETE", target).status == 403
    assert ground.files() == before
    assert (ground.root / "config").read_bytes() == b"a config"


@pytest.mark.parametrize("kind", ["data", "index", "snapshots", "keys"])
def test_nothing_but_a_lock_can_be_deleted(ground: Ground, kind: str) -> None:
    file = ground.root / kind / (NAME[:2] if kind == "data" else "") / NAME
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(CONTENT)
    assert ground.client().ask("DELETE", f"/{kind}/{NAME}").status == 403
    assert file.read_bytes() == CONTENT


def test_a_run_removes_only_the_locks_that_it_made(ground: Ground) -> None:
    foreign = ground.root / "locks" / OTHER
    foreign.write_bytes(b"another")
    gateway = ground.gateway()
    client = Client(gateway)
    assert client.ask("DELETE", f"/locks/{OTHER}").status == 403
    assert client.ask("POST", f"/locks/{OTHER}", b"another").status == 200  # it exists already: not ours
    assert client.ask("DELETE", f"/locks/{OTHER}").status == 403
    assert client.ask("POST", f"/locks/{NAME}", CONTENT).status == 200
    assert client.ask("DELETE", f"/locks/{NAME}").status == 200
    assert client.ask("DELETE", f"/locks/{NAME}").status == 404  # restic asks twice when an answer was lost
    assert client.ask("POST", f"/locks/{NAME}", CONTENT).status == 200
    client.close()
    gateway.close()
    assert foreign.exists() and not (ground.root / "locks" / NAME).exists()


def test_a_run_holds_ten_locks_at_most(ground: Ground) -> None:
    client = ground.client()
    for number in range(10):
        content = f"lock {number}".encode()
        assert client.ask("POST", f"/locks/{name_of(content)}", content).status == 200
    assert client.ask("POST", f"/locks/{NAME}", CONTENT).status == 403
    assert client.ask("DELETE", f"/locks/{name_of(b'lock 3')}").status == 200
    assert client.ask("POST", f"/locks/{NAME}", CONTENT).status == 200


@pytest.mark.parametrize("method", ["PUT", "PATCH", "OPTIONS", "TRACE", "CONNECT", "MKCOL", "X"])
def test_other_methods_are_refused(ground: Ground, method: str) -> None:
    assert ground.client().ask(method, "/config").status == 405


def test_no_repository_can_be_created_listed_or_removed(ground: Ground) -> None:
    client = ground.client()
    before = ground.files()
    for method in ("GET", "HEAD", "POST", "DELETE"):
        assert client.ask(method, "/", b"" if method == "POST" else None).status == 403
    assert client.ask("POST", "/?create=true", b"").status == 404
    assert ground.files() == before


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Basic",
        "Basic ",
        "Basic !!!",
        "Basic " + base64.b64encode(b"run-1:wrong").decode(),
        "Basic " + base64.b64encode(b"run-2:open sesame").decode(),
        "Basic " + base64.b64encode(b"run-1:open sesame:").decode(),
        "basic " + base64.b64encode(b"run-1:open sesame").decode(),
        "Bearer x",
    ],
)
def test_a_stranger_gets_nothing(ground: Ground, value: str) -> None:
    client = ground.client()
    before = ground.files()
    for method, target in (("GET", "/config"), ("POST", f"/data/{NAME}"), ("DELETE", f"/locks/{NAME}")):
        body = CONTENT if method == "POST" else None
        answer = client.ask(method, target, body, Authorization=value)
        assert (answer.status, "www-authenticate" in answer.headers) == (401, True)
        assert b"a config" not in answer.body
    assert ground.files() == before


def test_with_a_run_key_the_device_sees_no_other_key(ground: Ground) -> None:
    (ground.root / "keys" / OTHER).write_bytes(b"another")
    client = ground.client(run_key=KeyFile(NAME, CONTENT))
    assert json.loads(client.ask("GET", "/keys/").body) == [NAME]
    v2 = client.ask("GET", "/keys/", Accept="application/vnd.x.restic.rest.v2")
    assert json.loads(v2.body) == [{"name": NAME, "size": len(CONTENT)}]
    assert client.ask("GET", f"/keys/{NAME}").body == CONTENT
    assert client.ask("GET", f"/keys/{NAME}", Range="bytes=5-9").body == CONTENT[5:10]
    assert client.ask("GET", f"/keys/{OTHER}").status == 404
    assert not (ground.root / "keys" / NAME).exists()


def test_without_a_run_key_the_true_keys_are_shown(ground: Ground) -> None:
    (ground.root / "keys" / OTHER).write_bytes(b"another")
    client = ground.client()
    assert json.loads(client.ask("GET", "/keys/").body) == [OTHER]
    assert client.ask("GET", f"/keys/{OTHER}").body == b"another"


def test_a_run_that_lost_its_lease_writes_nothing_more(ground: Ground) -> None:
    is_current = [True]
    client = ground.client(is_current=lambda: is_current[0])
    assert client.ask("POST", f"/data/{NAME}", CONTENT).status == 200
    is_current[0] = False
    # An answer of the lease may be used for a second.
    time.sleep(1.1)
    answer = client.ask("POST", f"/data/{OTHER}", b"another")
    assert (answer.status, answer.body) == (403, b"the run is over")
    assert client.ask("GET", "/config").status == 403
    assert not (ground.root / "data" / OTHER[:2] / OTHER).exists()


def test_the_lease_is_asked_for_at_most_once_a_second(ground: Ground) -> None:
    asked: list[bool] = []

    def is_current() -> bool:
        asked.append(True)
        return True

    client = ground.client(is_current=is_current)
    for _ in range(50):
        assert client.ask("GET", "/config").status == 200
    assert 1 <= len(asked) <= 3


def test_refusals_are_kept_with_their_reason_and_bounded(ground: Ground) -> None:
    gateway = ground.gateway()
    client = Client(gateway)
    for number in range(150):
        client.ask("DELETE", f"/data/{number:064x}")
    assert len(gateway.refusals) == 100
    first = gateway.refusals[0]
    assert (first.method, first.target, first.status) == ("DELETE", f"/data/{0:064x}", 403)
    assert "may not delete" in first.reason and not gateway.out_of_space


def test_the_journal_lists_what_the_run_made_and_no_more(ground: Ground) -> None:
    client = ground.client()
    client.ask("POST", f"/data/{NAME}", CONTENT)
    client.ask("POST", f"/data/{NAME}", CONTENT)
    client.ask("POST", f"/data/{OTHER}", CONTENT)
    client.ask("POST", f"/snapshots/{OTHER}", b"another")
    entries = [(entry.kind, entry.name, entry.size) for entry in read_journal(ground.journal)]
    assert entries == [(Kind.DATA, NAME, len(CONTENT)), (Kind.SNAPSHOTS, OTHER, 7)]


def test_a_link_in_the_repository_leads_nowhere(ground: Ground) -> None:
    secret = ground.root.parent / "secret"
    secret.write_bytes(b"secret")
    (ground.root / "index" / NAME).symlink_to(secret)
    (ground.root / "data" / NAME[:2]).symlink_to(ground.root.parent)
    client = ground.client()
    assert client.ask("GET", f"/index/{NAME}").status == 403
    assert client.ask("GET", f"/data/{NAME}").status == 403
    assert client.ask("POST", f"/data/{NAME}", CONTENT).status == 403
    assert json.loads(client.ask("GET", "/index/").body) == []
    assert not (ground.root.parent / NAME).exists()


def test_a_closed_gateway_serves_nobody(ground: Ground) -> None:
    gateway = ground.gateway()
    before = Client(gateway)
    assert before.ask("GET", "/config").status == 200
    gateway.close()
    assert before.is_ended()
    assert Client(gateway).is_ended()
