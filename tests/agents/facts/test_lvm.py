"""What lvs prints (tests/cases/facts/lvm.json was recorded on Debian 12), and what it never would."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agents.errors import ProtocolBroken
from agents.facts import LvmFacts, from_json, to_json
from agents.facts.lvm import parse_volumes
from tests.agents.facts.samples import make_facts

CASE = (Path(__file__).parents[2] / "cases" / "facts" / "lvm.json").read_bytes()
GIB = 1 << 30


def change(**fields: Any) -> bytes:
    report = json.loads(CASE)
    report["report"][0]["lv"][0].update(fields)
    return json.dumps(report).encode()


def test_volumes_are_known_by_the_device_of_their_mounts() -> None:
    facts = parse_volumes(CASE)
    plain, thin = facts.volume_of("253:0"), facts.volume_of("253:6")
    assert plain is not None and thin is not None
    assert (plain.full_name, plain.size_bytes, plain.extent_bytes) == ("data/ext", GIB, 4 << 20)
    assert (plain.is_thin, plain.is_active, plain.group_free_bytes) == (False, True, 2785017856)
    assert (thin.full_name, thin.is_thin, thin.pool) == ("data/thin", True, "pool")
    assert facts.volume_of("253:99") is None
    assert facts.volume_of("") is None


def test_an_inactive_volume_has_no_device() -> None:
    off = parse_volumes(CASE).volume("data/off")
    assert off is not None and (off.device, off.is_active) == ("", False)


def test_pools_and_snapshots_tell_how_full_they_are() -> None:
    facts = parse_volumes(CASE)
    pool, full = facts.volume("data/pool"), facts.volume("data/hotfleet-c1-r1-1-0")
    assert pool is not None and full is not None
    assert (pool.data_share, pool.metadata_share) == (pytest.approx(0.1116), pytest.approx(0.1201))
    assert (full.data_share, full.metadata_share, full.attributes[4]) == (1.0, None, "I")
    assert full.origin == "xfs"
    two = facts.volume("data/hotfleet-c1-r1-0-2")
    assert two is not None and two.tags == ("hotfleet", "two")


def test_volumes_survive_storage() -> None:
    facts = make_facts(lvm=parse_volumes(CASE))
    assert from_json(to_json(facts)) == facts


def test_no_volume_is_a_fact_too() -> None:
    assert parse_volumes(b'{"report": [{"lv": []}]}') == LvmFacts(())


@pytest.mark.parametrize(
    "output",
    [
        *(
            b"",
            b"{",
            b"[]",
            b"{}",
            b'{"report": [{}]}',
            b'{"report": [{"lv": [3]}]}',
            b"[" * 100_000,
            b"\xff",
        ),
        change(lv_name="-rf"),
        change(lv_name="a/b"),
        change(lv_name="a\n"),
        change(vg_name=""),
        change(origin="a b"),
        change(lv_attr="x"),
        change(lv_size="1e9"),
        change(lv_size="٣"),
        change(data_percent="nan"),
        change(lv_kernel_major="-2"),
        change(lv_kernel_minor=None),
        change(vg_free="-1"),
    ],
)
def test_what_lvs_never_prints_is_refused(output: bytes) -> None:
    with pytest.raises(ProtocolBroken):
        parse_volumes(output)
