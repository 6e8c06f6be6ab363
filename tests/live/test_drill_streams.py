"""Every stream of every application, corrupted, torn and empty, is refuted by its trial, and proven before.

That the bytes were stored as they are is never in doubt here: restic's own checks pass, or the size does.
About half a minute each; by default only OpenLDAP's."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from agents.applications.trials import trial_makers
from agents.plan import SourceRequest
from tests.contracts.test_trials import WAYS
from tests.live.drills import DeviceProver, Prover, assert_proven, full_only, say, stored_of
from tests.live.flows import assert_device_is_clean
from tests.live.ground import Device
from tests.live.under_load import UNDER_LOAD


class Case(NamedTuple):
    """A way of an application whose largest stream is spoiled, and which step of the trial has to see it."""

    application: str
    method: str
    torn: str
    corrupted: str
    empty: str


_DATABASE = "database postgres.dump"
CASES = [
    Case("openldap", "stream", "entries", "slapadd", "entries"),
    Case("postgresql", "stream", "unpack", "files", "unpack"),
    Case("postgresql", "dump", _DATABASE, _DATABASE, _DATABASE),
    Case("mariadb", "stream", "prepare", "prepare", "prepare"),
    Case("mariadb", "dump", "load", "load", "load"),
    Case("redis", "stream", "start", "redis-check-rdb", "files"),
    Case("sqlite", "stream", "start", "integrity_check", "start"),
    Case("etcd", "stream", "snapshot restore", "snapshot restore", "snapshot restore"),
]


@pytest.fixture
def console(device: Device, tmp_path: Path, request: pytest.FixtureRequest) -> DeviceProver:
    device.directory.chmod(0o755)
    device.btrfs.chmod(0o755)
    # etcd listens in the network of the device
    kind = DeviceProver if "etcd" in request.node.name else Prover
    return kind(device, tmp_path)


def spoil(content: bytes, application: str) -> dict[str, bytes]:
    """Return it torn, corrupted and empty."""
    middle = len(content) // 2
    # of SQLite a whole page: it has no check sums, and a changed letter is as good as another one
    start, length = (middle // 4096 * 4096, 4096) if application == "sqlite" else (middle, 64)
    changed = bytes(byte ^ 0xFF for byte in content[start : start + length])
    corrupted = content[:start] + changed + content[start + length :]
    return {"torn": content[:middle], "corrupted": corrupted, "empty": b""}


def test_every_stream_has_a_case() -> None:
    ways = {(name, way) for name in trial_makers() for way in WAYS[name] if way in ("stream", "copy", "dump")}
    # a copy is tried as a stream is, and nobody but its author knows what a command's output means
    assert {(case.application, case.method) for case in CASES} == ways - {
        ("postgresql", "copy"),
        ("command", "stream"),
    }


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            case,
            id=f"{case.application}-{case.method}",
            marks=() if case.application == "openldap" else full_only,
        )
        for case in CASES
    ],
)
def test_a_stream_is_proven_and_spoiled_it_is_refuted(console: DeviceProver, case: Case) -> None:
    with UNDER_LOAD[case.application](console.device) as instance:
        source = SourceRequest(application=case.application, instance=str(instance), method=case.method)
        stored = stored_of(console.back_up(source), case.application, str(instance))
    assert_proven(console.drill(stored, sample=0), "start")
    largest = max(stored.parts, key=lambda part: part.size_bytes).part
    for how, content in spoil(console.read(stored, largest), case.application).items():
        evidence = console.drill(console.replace_stream(stored, largest, content), sample=0)
        failed = [check.name for check in evidence.failures]
        assert getattr(case, how) in failed, f"{how}: {say(evidence.checks)}"
        if content:
            assert {"manifest"} & set(failed) == set(), say(evidence.checks)
    assert_device_is_clean(console)


def test_the_empty_output_of_a_command_is_refuted(console: DeviceProver) -> None:
    source = SourceRequest(application="command", instance="list", command="true")
    evidence = console.drill(stored_of(console.back_up(source), "command", "list"))
    assert [check.name for check in evidence.failures] == ["manifest", "content"], say(evidence.checks)
