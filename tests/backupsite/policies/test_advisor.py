"""What is proposed follows from how good a hot copy is and how much of a stop the device stands."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agents.facts import DeviceFacts, Instance
from backupsite.policies.advisor import advise_files, advise_instance, look_at, predict_downtime
from tests.agents.facts.samples import make_facts, make_mount
from tests.backupsite.instances import make_etcd, make_postgresql

LEVELS = ("low", "normal", "high", "critical")


def known(*instances: Instance) -> DeviceFacts:
    facts = make_facts(make_mount("/srv/xfs", "xfs", "8:17"), paths=("/data",))
    return replace(facts, instances=instances)


def modes_of(instance: Instance) -> list[str]:
    look = look_at(known(instance), instance)
    return [advise_instance(look, level).mode for level in LEVELS]


def test_a_clean_hot_copy_is_always_hot() -> None:
    assert modes_of(make_postgresql("/data/pg")) == ["hot"] * 4
    look = look_at(known(), make_postgresql("/data/pg"))
    assert look.best is not None and look.best.consistency == "application"
    assert "too critical to stop" in advise_instance(look, "critical").sentence
    assert "critical" not in advise_instance(look, "normal").sentence


def test_a_crash_consistent_hot_copy_gets_a_cold_one_beside_it_unless_it_must_not_stop() -> None:
    assert modes_of(make_etcd("/data/etcd")) == ["cold", "both", "both", "hot"]
    assert modes_of(make_etcd("/data/etcd", service="")) == ["hot"] * 4, "nobody knows how to stop it"


def test_without_a_hot_method_it_is_cold_but_never_for_what_must_not_stop() -> None:
    assert modes_of(make_etcd("/srv/xfs/etcd")) == ["cold", "cold", "cold", "hot"]
    look = look_at(known(), make_etcd("/srv/xfs/etcd"))
    assert look.best is None and "etcdctl is missing" in look.refusal
    assert "mend this first" in advise_instance(look, "critical").sentence


def test_what_does_not_run_is_not_stopped() -> None:
    look = look_at(known(), make_postgresql(is_running=False))
    assert (look.stops, look.can_stop) == ("", False)
    advice = advise_instance(look, "low")
    assert advice.mode == "hot" and advice.downtime is None and "does not run" in advice.sentence


def test_an_application_that_this_console_does_not_know() -> None:
    look = look_at(known(), replace(make_etcd("/data/x"), application="gone"))
    assert (look.offers, look.can_stop) == ((), False)
    assert advise_instance(look, "normal").mode == "hot"


def test_files() -> None:
    facts = known(make_postgresql("/data/pg"))
    assert advise_files(facts, "/data/www", "critical").mode == "hot"
    assert "Protect that by itself" in advise_files(facts, "/data", "normal").sentence
    live = advise_files(facts, "/srv/xfs", "normal")
    assert live.mode == "hot" and "labelled so" in live.sentence
    with_services = [advise_files(facts, "/srv/xfs", level, has_services=True).mode for level in LEVELS]
    assert with_services == ["cold", "cold", "hot", "hot"]


@pytest.mark.parametrize(
    ("is_atomic", "measured", "short", "why"),
    [
        (True, (), "about 5 s", "nothing was measured"),
        (False, (), "seconds to minutes", "nothing was measured"),
        (True, (400.0, 2100.0, 90.0), "up to 2100 ms", "last 3 times"),
        (False, (90.0,), "up to 90", "last time"),
    ],
)
def test_a_downtime_is_measured_or_says_that_it_is_not(
    is_atomic: bool, measured: tuple[float, ...], short: str, why: str
) -> None:
    downtime = predict_downtime(is_atomic, measured)
    assert downtime.short.replace("\u00a0", " ").startswith(short) and why in downtime.why


def test_where_its_files_lie_is_no_reason_against_what_can_be_snapshotted() -> None:
    silent = replace(make_postgresql("/data/pg"), details=())
    look = look_at(replace(make_facts(), instances=(silent,)), silent)
    assert look.ground.is_atomic and look.best is None
    assert look.refusal == "It did not say enough of itself when it was looked at."
