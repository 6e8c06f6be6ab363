from __future__ import annotations

from dataclasses import replace

import pytest

from agents.events import Checked, CheckState
from agents.facts.system import SystemFacts
from agents.probe import check_facts
from tests.agents.facts.samples import SYSTEM, make_facts


def selinux_tick(**changes: str) -> Checked:
    facts = make_facts()
    system: SystemFacts = replace(SYSTEM, selinux=changes["mode"], selinux_context=changes.get("context", ""))
    ticks = check_facts(replace(facts, system=system), clock_s=SYSTEM.clock_s)
    return next(tick for tick in ticks if tick.name == "selinux")


@pytest.mark.parametrize("mode", ["disabled", "permissive"])
def test_a_device_on_which_selinux_denies_nothing_is_well(mode: str) -> None:
    tick = selinux_tick(mode=mode)
    assert tick.state is CheckState.GOOD and not tick.remedy


def test_enforcing_says_what_it_means_for_restored_files() -> None:
    tick = selinux_tick(mode="enforcing", context="system_u:system_r:unconfined_t:s0-s0:c0.c1023")
    assert tick.state is CheckState.WARNING and "restorecon" in tick.remedy
    assert "confined here" not in tick.remedy


def test_a_confined_user_is_told_where_to_look() -> None:
    tick = selinux_tick(mode="enforcing", context="staff_u:staff_r:staff_t:s0")
    assert "confined here" in tick.remedy and "ausearch" in tick.remedy
