"""Logical volumes, classic and thin: what a backup of them holds, what it leaves, and what it survives."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from agents.errors import ConnectionLost, SnapshotBroken
from agents.events import Consistency
from agents.plan import SourceRequest
from agents.snapshots.volumes import remove_command
from tests.live.flows import Console
from tests.live.ground import wait_until
from tests.vm.machine import Vm
from tests.vm.traces import wait_until_clean
from tests.vm.worker import Worker

# One is ext4, one XFS, both classic; the last is XFS on a thin volume.
KINDS = ("ext", "xfs", "thin")
# Counts in two files of each folder, one after the other, without ever flushing. Between them lies everything
# else: whoever reads them while they move finds them far apart.
_WRITER = """
exec python3 -c '
import os, sys, time
count = 0
while True:
    count += 1
    for folder in sys.argv[1:]:
        for name in ("a-first", "z-last"):
            with open(f"{folder}/new", "w") as file:
                print(count, file=file)
            os.replace(f"{folder}/new", f"{folder}/{name}")
    time.sleep(0.1)
' "$@"
"""


@contextmanager
def running(vm: Vm, name: str, script: str, *words: str) -> Iterator[None]:
    """Run a script in the machine, as a unit of its own, until the end of the context."""
    quoted = shlex.join(words)
    vm.run(f"cat >/root/{name} <<'END'\n{script}\nEND\nsystemd-run -q --unit={name} sh /root/{name} {quoted}")
    try:
        yield
    finally:
        vm.run(f"systemctl stop {name}; rm -f /root/{name}")


@pytest.fixture
def sources(vm: Vm) -> Iterator[list[str]]:
    """A folder on each kind of volume, with files that are small, large, sparse and strange."""
    paths = [f"/srv/{kind}/lvm source" for kind in KINDS]
    # restic stores packs of 16 MB: of the first source it stores one in the middle.
    for path, large_mb in zip(paths, (20, 4, 4), strict=True):
        vm.run(f"""
          mkdir -p "{path}/m/deep" && cd "{path}" || exit 1
          head -c {large_mb}M /dev/urandom >m/large
          truncate -s 10M m/sparse && echo end >>m/sparse
          printf x >"m/deep/new
line" && ln m/large m/deep/again && ln -s /etc m/link && echo 0 >a-first && echo 0 >z-last
        """)
    yield paths
    for path in paths:
        vm.run(f'rm -rf "{path}"')


def back_up(console: Console, *sources: str) -> Worker:
    """Start a backup of them in a thread. One group: all are taken in one moment."""
    worker = Worker(console, *(SourceRequest(source, group="all") for source in sources))
    worker.start()
    return worker


def assert_volumes_are_well(vm: Vm) -> None:
    """Every file system takes writes, none is a part of a snapshot, and nothing of one is in the kernel."""
    for kind in KINDS:
        vm.run(f"timeout 10 sh -c 'echo x >/srv/{kind}/alive && sync -f /srv/{kind}' && rm /srv/{kind}/alive")
    names = "dmsetup ls; ls /dev/data /dev/mapper /run/udev/rules.d"
    left = vm.run(f"{{ {names}; }} 2>/dev/null | grep -e hotfleet -e '-real' -e '-cow'; true")
    assert left == ""


def links_of_udev(vm: Vm) -> str:
    return vm.run("udevadm settle; ls -l /dev/disk/by-uuid | awk '{print $9, $11}'")


@pytest.mark.full
def test_several_volumes_of_one_run_are_each_of_one_instant(
    vm: Vm, console: Console, sources: list[str]
) -> None:
    links = links_of_udev(vm)
    with running(vm, "lvm-writer", _WRITER, *sources):
        worker = back_up(console, *sources)
        worker.wait_until_stored(1_000_000)
        meanwhile = links_of_udev(vm)
        scope = f"/hotfleet-{console.id}-"
        group = "cat /proc/$(pgrep -x restic)/cgroup"
        wait_until(lambda: scope in vm.run(group, check=False), what="restic in its memory limit")
        worker.join(300)
    assert not worker.is_alive() and worker.error is None
    assert meanwhile == links  # udev never points at a snapshot: a mount by UUID finds the live file system
    wait_until_clean(vm, console.id, timeout_s=60)
    assert_volumes_are_well(vm)
    for path, point in zip(sources, worker.points, strict=True):
        assert (point.source, point.method, point.consistency) == (path, "lvm", Consistency.FILE_SYSTEM)
        assert point.is_complete
        target = f"{path.rpartition('/')[0]}/restored"
        console.restore(point.restic_id, path, target)
        first, last = vm.run(f"cat '{target}/a-first' '{target}/z-last'").split()
        assert int(first) > 1 and int(first) - int(last) in (0, 1), (path, first, last)
        vm.run(f"diff -r --no-dereference '{path}/m' {target}/m; status=$?; rm -rf {target}; exit $status")


@pytest.fixture
def narrow(vm: Vm) -> Iterator[None]:
    """Only six extents are free in the group: just enough for a snapshot to be tried."""
    free = int(vm.run("vgs --noheadings -o vg_free_count data"))
    vm.run(f"lvcreate -q -y -an -Zn -l {free - 6} -n filler data")
    yield
    vm.run("lvremove -q -f -y data/filler")


@pytest.mark.parametrize(("rate", "why"), [("1M", "% of it is used"), ("60M", "it overflowed")])
@pytest.mark.full
def test_a_snapshot_without_space_ends_the_run_and_says_why(
    vm: Vm, console: Console, sources: list[str], narrow: None, rate: str, why: str
) -> None:
    path = sources[0]
    vm.run(f"head -c 150M /dev/urandom >'{path}/m/larger'", timeout_s=120)
    script = "while :; do head -c $2 /dev/urandom; sleep 1; done | dd of=$1 bs=64k oflag=dsync 2>/dev/null"
    with running(vm, "lvm-flood", script, "/srv/ext/flood", rate):
        worker = back_up(console, path)
        worker.join(300)
    vm.run("rm /srv/ext/flood")
    assert not worker.is_alive()
    assert isinstance(worker.error, SnapshotBroken), worker.error
    assert worker.error.message.startswith(f"The space for the snapshot of {path} was too small: ")
    assert why in worker.error.message
    assert worker.points == ()
    if (
        rate == "1M"
    ):  # it was stopped. Of a snapshot that overflowed the rest cannot be read: it ends, and may be first
        assert console.count_restore_points() == 0
    wait_until_clean(vm, console.id, timeout_s=60)
    assert_volumes_are_well(vm)


VICTIMS = {
    "runner": "cat /run/hotfleet/hotfleet-{id}-*/runner | while read -r pid _; do kill -9 $pid; done",
    # Between two sources there is none for a moment.
    "restic": "until kill -9 $(pgrep -x restic) 2>/dev/null; do sleep 0.1; done",
}


@pytest.mark.parametrize("victim", list(VICTIMS))
@pytest.mark.full
def test_whatever_is_killed_in_the_middle_no_volume_and_no_mount_stays(
    vm: Vm, console: Console, sources: list[str], victim: str
) -> None:
    worker = back_up(console, *sources)
    worker.wait_until_stored(1_000_000)
    vm.run(VICTIMS[victim].format(id=console.id))
    worker.join(300)
    assert not worker.is_alive() and worker.error is not None
    wait_until_clean(vm, console.id, timeout_s=60)
    assert_volumes_are_well(vm)


@pytest.mark.full
def test_a_power_cut_leaves_volumes_that_the_next_run_removes(
    vm: Vm, console: Console, sources: list[str]
) -> None:
    worker = back_up(console, *sources)
    worker.wait_until_stored(1_000_000)
    vm.power_cut()
    worker.join(60)
    assert isinstance(worker.error, ConnectionLost)
    vm.boot()
    left = vm.run("lvs --noheadings -o lv_name @hotfleet").split()
    assert len(left) == 3 and all(name.startswith(f"hotfleet-{console.id}-") for name in left)
    others = ["hotfleet-another-run-0-0", "hotfleet-notes"]
    vm.run(f"lvcreate -q -y -s -l 6 --addtag hotfleet -n {others[0]} data/ext")
    vm.run(f"lvcreate -q -y -s -l 6 -n {others[1]} data/ext")
    try:
        console.back_up(sources[0])
        assert sorted(vm.run("lvs --noheadings -o lv_name -S 'lv_name=~hotfleet'").split()) == others
    finally:
        vm.run(f"lvremove -q -f -y data/{others[0]} data/{others[1]}")
    wait_until_clean(vm, console.id, timeout_s=60)
    assert_volumes_are_well(vm)


# Kills lvcreate while it has the file system frozen, and prints 1 when that left it so.
_KILL_ONE = """
sync -f /srv/{origin}
read -r at <<END
$(lvs --noheadings --separator : -o lv_kernel_major,lv_kernel_minor data/{origin})
END
lvcreate -q -y -A n -s --addtag hotfleet {size} -n {name} data/{origin} >/dev/null 2>&1 &
while kill -0 $! 2>/dev/null; do
  read -r suspended </sys/dev/block/$at/dm/suspended
  [ "$suspended" = 0 ] || {{ kill -9 $!; break; }}
done
wait
cat /sys/dev/block/$at/dm/suspended
"""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.full
def test_a_file_system_that_a_killed_lvcreate_left_frozen_goes_on(vm: Vm, kind: str) -> None:
    """The journal's undo is all that is left then: nothing else on a device thaws it, and nobody is told."""
    size = "-k y" if kind == "thin" else "-l 10"
    number = {"ext": 0, "xfs": 1, "thin": 2}[kind]
    frozen = False
    for at in range(8):
        name = f"hotfleet-killed-r{number}-0-{at}"
        said = vm.run(_KILL_ONE.format(name=name, origin=kind, size=size))
        frozen = said.strip() == "1"
        undo = remove_command(f"data/{name}", f"data/{kind}")
        for _ in range(2):  # it may run twice
            vm.run(undo.shell_line())
        assert_volumes_are_well(vm)
        if frozen:
            break
    assert frozen, "lvcreate was always killed too late"


# What an lvcreate leaves that was killed between its steps: the kernel has the snapshot, its pool has not
# counted it, and LVM's metadata still order it.
_HALF_MADE = """
set -eu
lvcreate -q -y -A n -s --addtag hotfleet -k y -n {name} data/thin
vgcfgbackup -q -f /run/whole data
awk -v order='message1 {{ create = "{name}" }}' '
  /type = "thin-pool"/ {{ is_pool = 1 }}
  {{ print }}
  is_pool && /transaction_id/ {{ print order; is_pool = 0 }}
' /run/whole >/run/half
vgcfgrestore -q -y --force -f /run/half data
read -r _ _ _ counted _ <<END
$(dmsetup status --noflush data-pool-tpool)
END
dmsetup message data-pool-tpool 0 "set_transaction_id $counted $((counted - 1))"
"""


@pytest.mark.full
def test_a_pool_that_a_killed_lvcreate_left_stuck_makes_snapshots_again(vm: Vm) -> None:
    name = "hotfleet-killed-r3-0-0"
    vm.run(_HALF_MADE.format(name=name))
    stuck = vm.run(f"lvremove -f -y -A n data/{name} 2>&1 && echo gone", check=False)
    assert "already contain thin device" in stuck and "gone" not in stuck, (
        "the control: LVM alone does not go on"
    )
    undo = remove_command(f"data/{name}", "data/thin")
    for _ in range(2):
        vm.run(undo.shell_line())
    assert_volumes_are_well(vm)
    vm.run("lvcreate -q -y -s -k y -n after data/thin && lvremove -q -f -y data/after")
