"""What of a restore goes where: pure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agents.commands import Secret
from agents.errors import PlanRefused, RestoreTargetRefused
from agents.facts.mounts import Mount
from agents.repositories import RepositoryPlace
from agents.restic.binary import Binary
from agents.restoring import Conflict, Mode, RestoreRequest
from agents.restoring.forecast import _batches
from agents.restoring.legs import Leg, make_legs
from tests.live.flows import MOMENT


def mount(point: str, kind: str = "ext4") -> Mount:
    return Mount(point, kind, "/dev/x", "/", "8:1", (), False)


MOUNTS = (
    mount("/"),
    mount("/home"),
    mount("/home/deep"),
    mount("/proc", "proc"),
    mount("/sys/fs/bpf", "bpf"),
)
REQUEST = RestoreRequest(
    "c", "r", RepositoryPlace(Path("/srv/r/x"), Path("/srv/r/j"), Secret("s"), Path("/srv/r")),
    Binary(Path("/restic"), (0, 18, 0), "0" * 64, "x86_64"), False, "a" * 64, (), "/data", "/target",
    Conflict.SKIP, Mode.MERGE, False, MOMENT, 0,
)  # fmt: skip


def legs(*paths: str, is_file: bool = False, **changes: Any) -> tuple[Leg, ...]:
    request = replace(REQUEST, paths=paths, **changes)
    return make_legs(request, MOUNTS, is_file=is_file)


def test_a_folder_goes_into_another_one() -> None:
    assert legs() == (Leg("/data", (), "/target"),)
    assert legs("/data/a", "/data/b/c") == (Leg("/data", ("a", "b/c"), "/target"),)
    assert legs("/data/a", "/data/a/b", "/data/a b") == (Leg("/data", ("a b", "a"), "/target"),)
    assert legs(is_file=True) == (Leg("/", ("data",), "/target"),)
    assert legs("/data") == legs(), "all of it, said twice"


def test_a_folder_becomes_another_one() -> None:
    assert legs(mode=Mode.EXACT) == (Leg("/", ("data",), "/", ("target",), called="data"),)
    assert legs(mode=Mode.EXACT, base="/") == (Leg("/", (), "/", ("target",), called=""),)
    (leg,) = legs("/data/a/b", mode=Mode.EXACT)
    assert (leg, leg.places) == (Leg("/data", ("a/b",), "/target", ("a/b",)), ("/target/a/b",))


def test_things_return_to_their_file_systems() -> None:
    got = legs("/etc/a", "/home/b", "/home/deep/c", base="/", target=None, mode=Mode.EXACT)
    assert got == (
        Leg("/", ("etc/a",), "/", ("etc/a",)),
        Leg("/home", ("b",), "/home", ("b",)),
        Leg("/home/deep", ("c",), "/home/deep", ("c",)),
    )
    assert legs(base="/home/deep", target=None) == (Leg("/home/deep", (), "/home/deep"),)


@pytest.mark.parametrize(
    ("paths", "changes"),
    [
        ((), {"target": "/"}),
        ((), {"target": "relative"}),
        ((), {"target": "/a/../b"}),
        ((), {"target": "/" + "x" * 4000}),
        ((), {"target": "/proc/1"}),
        ((), {"target": "/sys/fs/bpf/x"}),
        ((), {"target": "/run/hotfleet"}),
        ((), {"target": "/a/.hotfleet-c-r.restore/new"}),
        ((), {"base": "/", "target": None}),
        ((), {"target": "/home", "mode": Mode.EXACT}),
        (("/home",), {"base": "/", "target": None, "mode": Mode.EXACT}),
        (("/var",), {"base": "/", "target": None, "mode": Mode.EXACT}),
        ((), {"target": "/srv/r/x/y", "is_local": True}),
        ((), {"target": "/srv/r", "is_local": True}),
        ((), {"target": "/srv", "is_local": True, "mode": Mode.DIRECT}),
        ((), {"target": "/opt/console/x", "protected": ("/opt/console",)}),
        (("/data/../etc",), {}),
        (("/data/console/db",), {"target": "/opt", "protected": ("/opt/console",)}),
        (("/data/console",), {"target": "/opt", "protected": ("/opt/console",), "mode": Mode.EXACT}),
        (("/data/r/x/index",), {"target": "/srv", "is_local": True}),
        (("/opt/console",), {"base": "/", "target": None, "protected": ("/opt/console",)}),
        ((), {"base": "/opt", "target": None, "protected": ("/opt/console",)}),
        ((), {"target": "/opt", "protected": ("/opt/console",)}),
        (("/data/opt",), {"target": "/x", "protected": ("/x/opt/console",)}),
        ((), {"base": "/home", "target": None, "protected": ("/home/console",)}),
        ((), {"target": "/srv", "is_local": True}),
    ],
)
def test_places_that_nothing_is_restored_to(paths: tuple[str, ...], changes: dict[str, Any]) -> None:
    with pytest.raises(RestoreTargetRefused):
        legs(*paths, **changes)


def test_what_lies_beside_the_console_is_restored() -> None:
    home = ("/opt/console",)
    assert legs("/data/other", target="/opt", protected=home) == (Leg("/data", ("other",), "/opt"),)
    assert legs("/opt/other", base="/opt", target=None, protected=home) == (Leg("/", ("opt/other",), "/"),)
    assert legs(target="/var") == (Leg("/data", (), "/var"),), "a device has nothing of a console"


def test_choices_that_make_no_sense() -> None:
    with pytest.raises(PlanRefused, match="does not lie in"):
        legs("/etc/passwd")
    with pytest.raises(PlanRefused, match="Too many"):
        legs(*(f"/data/{number:040}" for number in range(10_000)))


def test_a_question_to_the_device_is_bounded() -> None:
    batches = list(_batches(f"/{number:0200}" for number in range(30_000)))
    assert all(len(batch) <= 2_000_000 for batch in batches)
    assert b"".join(batches).count(b"\0") == 30_000
    assert list(_batches(iter(()))) == []
