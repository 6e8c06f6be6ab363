"""Redis: what servers said, and what that allows."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.applications import Ground, Patience, applications
from agents.errors import PlanRefused, ProtocolBroken
from agents.facts import Instance
from tests.agents.facts.samples import make_facts

LOOK = (Path(__file__).parents[2] / "cases" / "applications" / "redis" / "look.bin").read_bytes()
ATOMIC = Ground(True, "one snapshot holds all of its files", "btrfs")
SCATTERED = Ground(False, "there is no snapshot", remedy="Use btrfs.")
FACTS = make_facts()
REDIS = applications()["redis"]


def found(output: bytes = LOOK) -> dict[str, Instance]:
    return {instance.name: instance for instance in REDIS.parse(output, FACTS)}


def test_servers_are_named_by_port_or_socket_or_the_place_of_their_data() -> None:
    assert set(found()) == {"16999", "16998", "/srv/rd/r.sock", "/var/lib/redis"}
    assert found()["16998"].detail("tcp") == "127.0.0.1 16998"
    assert not found()["/var/lib/redis"].is_running
    assert REDIS.look(FACTS) is None


def test_a_server_that_wants_a_password_is_offered_nothing_and_says_what_to_do() -> None:
    locked = found()["16999"]
    assert "NOAUTH" in locked.problems[0] and "unix socket" in locked.problems[0]
    assert REDIS.offers(locked, ATOMIC, FACTS) == ()


def test_only_an_append_only_file_on_one_snapshot_is_better_than_a_stream() -> None:
    def methods(name: str, ground: Ground) -> list[str]:
        return [offer.method for offer in REDIS.offers(found()[name], ground, FACTS)]

    assert methods("/srv/rd/r.sock", ATOMIC) == ["snapshot", "stream"]
    assert methods("16998", ATOMIC) == ["stream"]
    (stream,) = REDIS.offers(found()["/srv/rd/r.sock"], SCATTERED, FACTS)
    assert stream.missing == "there is no snapshot. Use btrfs."
    assert "the last took 0 ms" in stream.freeze


def test_a_fork_without_memory_is_told_before() -> None:
    large = LOOK.replace(b"used_memory\x001061480", b"used_memory\x0099999999999")
    (_, stream) = REDIS.offers(found(large)["/srv/rd/r.sock"], ATOMIC, FACTS)
    assert "overcommit_memory" in stream.missing
    allowed = large.replace(b"overcommit\x000", b"overcommit\x001")
    (_, stream) = REDIS.offers(found(allowed)["/srv/rd/r.sock"], ATOMIC, FACTS)
    assert stream.missing == ""


def test_what_cannot_be_is_a_broken_protocol() -> None:
    for nonsense in (
        b"said\0role\0master\0\0",
        b"server\x001\0relative\0\0",
        b"server\x001\0/srv\0\0said\0used_memory\0much\0\0",
        b"server\x001\0/srv\0\0shout\0a\0b\0\0",
    ):
        with pytest.raises(ProtocolBroken):
            REDIS.parse(nonsense, FACTS)


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(PlanRefused):
        REDIS.recipe(found()["16998"], "dump", Patience(), "")
