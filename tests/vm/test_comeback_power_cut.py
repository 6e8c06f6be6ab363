"""The power fails between the renames of a comeback: the journal lies on another disk than the data, and only
what was flushed is there when the machine is up again."""

from __future__ import annotations

import threading

import pytest

from agents.errors import AgentError
from agents.own_places import JOURNALS
from agents.plan import SourceRequest
from agents.returning import swapping
from tests.live.daemons import bring_back, stored_of
from tests.live.flows import Console
from tests.live.ground import wait_until
from tests.vm.machine import Vm
from tests.vm.test_postgresql import Cluster, cluster, sql
from tests.vm.traces import wait_until_clean

__all__ = ["cluster"]

# The data is nowhere, for certain; of the journal only what a comeback flushes itself.
_PLACE = '  for staging in "$@"; do swap_in'
_STAND = '  (cd -- "${1%/*}" && sync -f .); : >"$hold/cut"; sleep 600\n'


@pytest.mark.full
def test_what_was_there_is_back_and_runs(
    vm: Vm, console: Console, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    sql(vm, "create table word as select 1 word", port=cluster.port)
    outcome = console.back_up(SourceRequest(application="postgresql", instance=cluster.name, method="stream"))
    stored, known = stored_of(outcome, "postgresql", cluster.name)
    sql(vm, "update word set word = 2", port=cluster.port)
    functions = swapping._functions()
    assert functions.count(_PLACE) == 1
    monkeypatch.setattr(swapping, "_functions", lambda: functions.replace(_PLACE, _STAND + _PLACE))
    ended: list[AgentError] = []

    def work() -> None:
        try:
            bring_back(console, stored, known, cluster.unit, longest_start_s=600)
        except AgentError as error:
            ended.append(error)

    thread = threading.Thread(target=work)
    thread.start()

    def is_half() -> bool:
        assert thread.is_alive(), ended
        return "cut" in vm.run(f"ls {JOURNALS}/*/cut", check=False)

    wait_until(is_half, timeout_s=900, what="the swap")
    vm.power_cut()
    thread.join(120)
    assert ended and not thread.is_alive()
    with pytest.raises(AssertionError, match=f"(?s)is degraded.*{cluster.unit}"):
        vm.boot()
    assert vm.run(f"ls -d {cluster.data}", check=False) == "", "it is nowhere"
    console.probe()
    assert sql(vm, "select word from word", port=cluster.port) == "2"
    assert any("what was there before is in its place" in text for text in console.sentences)
    assert vm.run(f"ls -A {cluster.data}/..").split() == [cluster.data.rpartition("/")[2]]
    wait_until_clean(vm, console.id, timeout_s=60)
