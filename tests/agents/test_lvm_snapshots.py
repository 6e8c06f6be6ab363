"""LVM snapshots without a device: what is refused and why, how large one gets, and when it is broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agents.binds import Bind, Volume
from agents.commands import Command, Result
from agents.errors import AgentError, PlanRefused, ProtocolBroken, SnapshotBroken
from agents.events import Consistency
from agents.facts import DeviceFacts
from agents.facts.lvm import parse_volumes
from agents.snapshots import Claim, Refusal, Taken, providers
from agents.snapshots.volumes import mapper_name, parse_fill, share_extents, wanted_bytes
from tests.agents.facts.samples import make_facts, make_mount

CASE = json.loads((Path(__file__).parents[1] / "cases" / "facts" / "lvm.json").read_bytes())
MIB, GIB = 1 << 20, 1 << 30
LVM = providers()["lvm"]


def report(**volumes: dict[str, Any]) -> bytes:
    """What lvs prints when these fields of these volumes differ; `every` are those of all of them."""
    copy = json.loads(json.dumps(CASE))
    for row in copy["report"][0]["lv"]:
        row.update(volumes.get("every", {}))
        row.update(volumes.get(row["lv_name"], {}))
    return json.dumps(copy).encode()


def facts(kind: str = "ext4", device: str = "253:0", **volumes: dict[str, Any]) -> DeviceFacts:
    mounts = (make_mount("/lv", kind, device), make_mount("/xfs", "xfs", "253:1"))
    return make_facts(*mounts, tools=("lvm",), lvm=parse_volumes(report(**volumes)))


def refusal(seen: DeviceFacts) -> Refusal:
    answer = LVM.can_take("/lv/a", seen)
    assert isinstance(answer, Refusal)
    return answer


def test_plain_mirrored_and_thin_volumes_are_claimed() -> None:
    for kind, device in (("ext4", "253:0"), ("xfs", "253:1"), ("ext4", "253:11"), ("xfs", "253:6")):
        answer = LVM.can_take("/lv/a", facts(kind, device))
        assert isinstance(answer, Claim)
        assert answer.consistency is Consistency.FILE_SYSTEM
        assert "data" in answer.cost


@pytest.mark.parametrize(
    ("seen", "reason", "remedy"),
    [
        (facts(device="8:1"), "no logical volume", ""),
        (facts("btrfs"), "its own snapshots", ""),
        (facts("jfs"), "never tried", ""),
        (facts(ext={"lv_attr": "Cwi-aoC---"}), "never tried", "lvs data/ext"),
        (facts(ext={"lv_attr": "swi-aos---"}), "never tried", "lvs data/ext"),
        (facts(ext={"lv_attr": "-wi-so----"}), "never tried", "lvs data/ext"),
        (facts(ext={"lv_attr": "rwi-aor-p-"}), "damaged", "Mend"),
        (facts(every={"vg_free": str(20 * MIB)}), "needs 20 MiB at least", ""),
        (facts(every={"vg_free": "0"}), "has 0 MiB free", "vgextend data"),
        (facts("xfs", "253:6", pool={"data_percent": "90.00"}), "90% full", "lvextend -l +20%LV data/pool"),
        (facts("xfs", "253:6", pool={"metadata_percent": "97.1"}), "metadata", "--poolmetadatasize"),
        (facts("xfs", "253:6", pool={"lv_attr": "twi-aotzD-"}), "damaged", "Mend"),
        (facts("xfs", "253:6", pool={"data_percent": ""}), "does not tell", ""),
    ],
)
def test_what_cannot_be_taken_is_refused_with_its_remedy(seen: DeviceFacts, reason: str, remedy: str) -> None:
    assert reason in refusal(seen).reason
    assert remedy in refusal(seen).remedy


def test_a_device_without_the_program_is_told_what_to_install() -> None:
    mount = make_mount("/lv", "ext4", "mapper/data-ext")
    assert refusal(make_facts(mount)).remedy == "Install lvm2 on the device."
    assert refusal(make_facts(mount, tools=("lvm",))).reason == "LVM does not list its volumes"


def test_a_name_is_escaped_as_device_mapper_does() -> None:
    assert mapper_name("my-group/a-b") == "my--group-a--b"


@pytest.mark.parametrize(
    ("bytes_a_second", "expected"),
    [(0.0, GIB // 10), (100_000.0, 180_000_000), (1e9, GIB * 1.02 + (16 << 20))],
)
def test_the_space_of_a_snapshot_follows_what_is_written(bytes_a_second: float, expected: float) -> None:
    origin = facts().lvm
    assert origin is not None
    volume = origin.volume("data/ext")
    assert volume is not None
    assert wanted_bytes(volume, bytes_a_second) == int(expected)


def test_snapshots_of_one_group_share_its_space() -> None:
    extent = 4 * MIB
    assert share_extents([40 * MIB, 10 * MIB], [8 * MIB] * 2, 100 * MIB, extent) == [10, 3]
    shared = share_extents([40 * MIB, 400 * MIB], [8 * MIB] * 2, 100 * MIB, extent)
    assert 2 <= shared[0] < shared[1] and sum(shared) <= 25
    assert share_extents([40 * MIB, 40 * MIB], [8 * MIB] * 2, 17 * MIB, extent) == [2, 2]
    assert share_extents([40 * MIB, 40 * MIB], [8 * MIB] * 2, 15 * MIB, extent) == []
    assert share_extents([4 * MIB], [8 * MIB], 5 * MIB, extent) == [1]  # it wants less than others need


class Device:
    """It answers the provider's commands: lvs with `listed`, the fill with `status`."""

    name = "hotfleet-c1-r1"

    def __init__(self, listed: bytes = b"", status: bytes = b"", *, exit_status: int = 0) -> None:
        self.listed, self.status, self.exit_status = listed, status, exit_status
        self.owed: list[str] = []
        self.asked: list[Command] = []

    def run(self, command: Command, *, timeout_s: float = 60.0, check: bool = True) -> Result:
        self.asked.append(command)
        if command.argv[1] == "lvs":
            return Result(command, 0, self.listed, b"")
        line = command.shell_line()
        if "/sys/dev/block" in line:
            return Result(command, 0, b"0\x00100\0" * (len(command.argv[4:]) // 2), b"")
        return Result(command, self.exit_status, self.status if "dmsetup status" in line else b"", b"gone")

    def owe(self, key: str, undo: Command, *, within_s: float | None = None) -> None:
        self.owed.append(key)

    def settle(self, key: str) -> None: ...


def test_the_script_makes_one_snapshot_a_volume_with_extents_and_our_tag() -> None:
    seen = facts()
    shot = LVM.prepare(Device(report()), ["/lv/a", "/xfs", "/lv/b"], seen, number=2)
    first, second = shot.script.splitlines()
    assert first == (
        "lvm lvcreate -q -y -A n -s -p r --addtag hotfleet -n hotfleet-c1-r1-2-0 -l 26 data/ext "
        ">/dev/null || return 1"
    )
    assert "-n hotfleet-c1-r1-2-1 -l 26 data/xfs" in second
    ext = Volume("/dev/data/hotfleet-c1-r1-2-0", "ext4", "ro,noload")
    xfs = Volume("/dev/data/hotfleet-c1-r1-2-1", "xfs", "ro,nouuid,norecovery")
    assert shot.binds == (Bind("/a", "/lv/a", ext), Bind("/", "/xfs", xfs), Bind("/b", "/lv/b", ext))


def test_a_thin_snapshot_has_no_size_and_is_activated_after_the_application_went_on() -> None:
    device = Device(report())
    shot = LVM.prepare(device, ["/lv"], facts("xfs", "253:6"))
    assert "-k y data/thin" in shot.script and "-l " not in shot.script
    assert not any("lvchange" in command.argv for command in device.asked)
    LVM.finish(device, shot)
    assert device.asked[-1].argv[1] == "lvchange" and device.asked[-1].argv[-1] == "data/hotfleet-c1-r1-0-0"


def test_a_group_that_is_too_full_for_all_of_them_is_refused_before_anything_is_owed() -> None:
    device = Device(report(every={"vg_free": str(36 * MIB)}))
    with pytest.raises(PlanRefused, match="2 snapshots at once") as caught:
        LVM.prepare(device, ["/lv", "/xfs"], facts())
    assert "vgextend data" in caught.value.remedy
    assert device.owed == []


def test_a_volume_that_went_away_since_the_facts_is_refused() -> None:
    with pytest.raises(PlanRefused, match="no logical volume any more"):
        LVM.prepare(Device(b'{"report": [{"lv": []}]}'), ["/lv"], facts())


SNAPSHOT = "0 2097152 snapshot {}"
POOL = "0 2457600 thin-pool 14 {} {} - {} discard_passdown queue_if_no_space - 256 "


def check(*statuses: str, exit_status: int = 0) -> None:
    mapped = mapper_name("data/hotfleet-c1-r1-0-0")
    said = b"".join(f"{mapped}\0{status}\0".encode() for status in statuses)
    volume = Volume("/dev/data/hotfleet-c1-r1-0-0", "ext4", "ro")
    taken = Taken("lvm", Consistency.FILE_SYSTEM, (Bind("/", "/lv", volume),), ("lvm-0-0",))
    LVM.check(Device(status=said, exit_status=exit_status), taken)


def test_a_snapshot_with_space_is_well() -> None:
    check(SNAPSHOT.format("16544/40960 80"))
    check("0 2097152 thin 274304 2097151", POOL.format("123/1024", "2143/19200", "rw"))


@pytest.mark.parametrize(
    ("statuses", "why"),
    [
        ([SNAPSHOT.format("32768/40960 80")], "80% of it is used"),
        ([SNAPSHOT.format("Invalid")], "overflowed"),
        ([SNAPSHOT.format("Overflow")], "overflowed"),
        (["0 9 thin 1 2", POOL.format("123/1024", "18240/19200", "rw")], "95% of it is used"),
        (["0 9 thin 1 2", POOL.format("973/1024", "1/19200", "rw")], "95% of it is used"),
        (["0 9 thin 1 2", POOL.format("1/1024", "1/19200", "out_of_data_space")], "out_of_data_space"),
        (["0 9 thin Fail", POOL.format("1/1024", "1/19200", "rw")], "pool failed"),
        (["0 9 thin 1 2", "0 2457600 thin-pool Fail"], "pool failed"),
    ],
)
def test_a_snapshot_without_space_is_broken_and_says_why(statuses: list[str], why: str) -> None:
    with pytest.raises(SnapshotBroken) as caught:
        check(*statuses)
    assert why in caught.value.message and "/lv" in caught.value.message
    assert caught.value.remedy


def test_a_snapshot_that_is_gone_is_broken() -> None:
    with pytest.raises(SnapshotBroken, match="gone"):
        check(exit_status=1)


@pytest.mark.parametrize(
    "status", ["", "0 9 linear 8:1 2", "0 9 snapshot a/b", "0 9 snapshot 1/", "nonsense"]
)
def test_a_status_that_nobody_knows_is_no_success(status: str) -> None:
    with pytest.raises((ProtocolBroken, SnapshotBroken)) as caught:
        parse_fill("x", status)
    assert isinstance(caught.value, AgentError)
