"""What happens to the files of a run that broke a rule: set aside, never adopted, and the run fails."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from agents.errors import Cancelled, ConnectionLost, LeaseLost, RepositoryRefused
from agents.events import Event
from agents.flow import Unstoppable
from agents.following import Follower
from agents.gateway import Gateway, Rights, read_broken_rule
from agents.repositories import RepositoryPlace, open_door, open_place
from agents.restic.binary import Binary
from agents.session import Serve
from tests.agents import gateway_ground
from tests.agents.gateway_ground import (
    PASSWORD,
    Client,
    Ground,
    _template,
    binary,
    ground,
    name_of,
    repository_path,
)

__all__ = ["_template", "binary", "ground", "repository_path"]

PACK, INDEX, SNAPSHOT = (os.urandom(1000) for _ in range(3))
UPLOADS = (("data", PACK), ("index", INDEX), ("snapshots", SNAPSHOT))


@dataclass
class Url:
    repository_url: str = "rest:http://127.0.0.1:1/"


class NoDevice:
    """A session of which only the door is used; the test talks to the gateway itself."""

    @contextmanager
    def open_door(self, serve: Serve) -> Iterator[Url]:
        yield Url()


class Fenced(Unstoppable):
    def is_current(self) -> bool:
        return False


class Evil:
    """A repository and runs in it whose device speaks raw HTTP."""

    def __init__(self, path: Path, binary: Binary) -> None:
        self.binary = binary
        self.place = RepositoryPlace(path, path.with_name("journals"), PASSWORD)
        self.quarantine = path.with_name("repository.quarantine")
        self.events: list[Event] = []

    def run(
        self,
        act: Callable[[Client], None],
        *,
        run_id: str,
        control: Unstoppable | None = None,
        error: BaseException | None = None,
    ) -> None:
        with open_place(self.place, self.binary, self.events.append) as repository:
            door = open_door(
                NoDevice(),  # type: ignore[arg-type]  # only its door is used
                self.place,
                repository,
                run_id=run_id,
                rights=Rights.BACKUP,
                control=control or Unstoppable(),
            )
            with door as opened:
                client = Client(opened.gateway)
                try:
                    act(client)
                finally:
                    client.close()
                if error is not None:
                    raise error

    def names(self) -> set[str]:
        return {file.name for file in self.place.path.rglob("*") if file.is_file()}


@pytest.fixture
def evil(repository_path: Path, binary: Binary, monkeypatch: pytest.MonkeyPatch) -> Evil:
    monkeypatch.setattr(gateway_ground.CREDENTIALS.__class__, "match", lambda self, value: value != b"")
    return Evil(repository_path, binary)


def store_all(client: Client) -> None:
    for kind, content in UPLOADS:
        assert client.ask("POST", f"/{kind}/{name_of(content)}", content).status == 200


def break_a_rule(client: Client) -> None:
    store_all(client)
    assert client.ask("DELETE", f"/data/{name_of(PACK)}").status == 403


def test_the_files_of_a_run_that_broke_a_rule_leave_the_repository(evil: Evil) -> None:
    before = evil.names()
    run_id = secrets.token_hex(16)
    with pytest.raises(RepositoryRefused, match="may not delete") as caught:
        evil.run(break_a_rule, run_id=run_id)
    assert str(evil.quarantine / run_id) in caught.value.message
    assert evil.names() == before
    aside = {file.name for file in (evil.quarantine / run_id).iterdir()}
    assert aside == {*(f"{kind}-{name_of(content)}" for kind, content in UPLOADS), f"{run_id}.jsonl"}
    assert list(evil.place.journals.iterdir()) == []


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("POST", f"/data/{name_of(b'x')}", b"y"),
        ("POST", f"/keys/{name_of(b'x')}", b"x"),
        ("POST", "/config", b"x"),
        ("POST", "/?create=true", b""),
        ("DELETE", f"/snapshots/{name_of(b'x')}", None),
        ("GET", "/../other/config", None),
        ("PUT", "/config", b"x"),
    ],
)
def test_what_no_honest_restic_asks_breaks_a_rule(
    ground: Ground, method: str, target: str, body: bytes | None
) -> None:
    gateway = ground.gateway()
    client = Client(gateway)
    assert client.ask(method, target, body).status >= 400
    assert gateway.broken_rule
    assert read_broken_rule(ground.journal) == gateway.broken_rule


def test_a_stranger_without_the_password_condemns_nobody(ground: Ground) -> None:
    gateway = ground.gateway()
    client = Client(gateway)
    assert client.ask("DELETE", f"/data/{name_of(PACK)}", Authorization="Basic bm8=").status == 401
    client.send(b"\x00\x01 garbage\r\n\r\n")
    assert client.read().status == 400
    assert gateway.broken_rule == ""


def test_asking_twice_to_remove_a_lock_breaks_no_rule(ground: Ground) -> None:
    gateway = ground.gateway()
    client = Client(gateway)
    lock = f"/locks/{name_of(b'lock')}"
    assert client.ask("POST", lock, b"lock").status == 200
    assert client.ask("DELETE", lock).status == 200
    assert client.ask("DELETE", lock).status == 404
    assert gateway.broken_rule == ""


def test_a_damaged_file_of_the_repository_is_not_the_fault_of_the_run(ground: Ground) -> None:
    (ground.root / "index" / name_of(INDEX)).write_bytes(b"rotten")
    gateway = ground.gateway()
    assert Client(gateway).ask("POST", f"/index/{name_of(INDEX)}", INDEX).status == 403
    assert gateway.broken_rule == ""


def test_a_broken_rule_counts_more_than_how_the_run_ended(evil: Evil) -> None:
    with pytest.raises(RepositoryRefused):
        evil.run(break_a_rule, run_id="a" * 32, error=ConnectionLost("the device went away"))
    assert (evil.quarantine / ("a" * 32)).is_dir()


@pytest.mark.parametrize("error", [Cancelled("by a person"), LeaseLost("of another"), KeyboardInterrupt()])
def test_what_a_dead_run_left_is_set_aside_by_the_next_one(evil: Evil, error: BaseException) -> None:
    before = evil.names()
    with pytest.raises(type(error)):
        evil.run(break_a_rule, run_id="b" * 32, error=error)
    assert evil.names() > before
    evil.run(lambda client: None, run_id="c" * 32)
    assert evil.names() == before
    assert (evil.quarantine / ("b" * 32) / f"snapshots-{name_of(SNAPSHOT)}").exists()


def test_without_its_lease_a_run_moves_nothing_and_the_next_one_does(evil: Evil) -> None:
    def act(client: Client) -> None:
        assert client.ask("DELETE", f"/data/{name_of(PACK)}").status == 403

    with pytest.raises(LeaseLost):
        evil.run(act, run_id="f" * 32, control=Fenced())
    assert not evil.quarantine.exists()
    evil.run(lambda client: None, run_id="c" * 32)
    assert (evil.quarantine / ("f" * 32)).is_dir()


def test_files_of_earlier_runs_stay_whatever_a_run_sends_again(evil: Evil) -> None:
    evil.run(store_all, run_id="d" * 32)
    before = evil.names()
    with pytest.raises(RepositoryRefused):
        evil.run(break_a_rule, run_id="e" * 32)  # stores the same files again, then breaks a rule
    assert evil.names() == before


def test_a_run_that_is_over_is_lost_not_condemned(ground: Ground) -> None:
    gateway = ground.gateway(is_current=lambda: False)
    assert Client(gateway).ask("POST", f"/data/{name_of(PACK)}", PACK).status == 403
    assert gateway.broken_rule == ""
    with pytest.raises(LeaseLost):
        follow_failed_restic(gateway)


def follow_failed_restic(gateway: Gateway) -> None:
    class Failed:
        stderr_tail = b'{"message_type":"exit_error","code":1,"message":"403 Forbidden"}\n'

        def read(self, *, timeout_s: float) -> bytes:
            return b""

        def wait(self, *, timeout_s: float) -> int:
            return 1

        def close(self) -> None:
            return

    follower = Follower(lambda event: None, Unstoppable(), gateway)
    follower.follow("backup", Failed(), lambda: None)  # type: ignore[arg-type]  # what it uses of a process
